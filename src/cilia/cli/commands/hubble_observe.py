"""`cilia hubble observe`: flows, agent events and debug events."""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.hubble.filters import NOT, filter_lists
from cilia.cli.hubble.flags import FLAGS, FilterFlag
from cilia.cli.hubble.options import (
    ServerFlags,
    connect,
    debug,
    is_debugging,
    option,
    server_options,
)
from cilia.cli.hubble.selection import ALL, DEFAULT_LAST, Selection, field_mask, selection_request
from cilia.cli.hubble.times import LAYOUTS

Json = Any

KINDS = ("flows", "agent-events", "debug-events")
FORMATS = ("compact", "dict", "json", "jsonpb", "tab", "table")
JSON = ("json", "jsonpb")
TABLES = ("tab", "table")
WORDS = "hubble.filter-words"


class FilterOption(click.Option):
    """A filter flag: what it says depends on where it stands."""


class ObserveCommand(click.Command):
    """Keeps the filter flags in the order they were typed: `--not` is about the next one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, order = self.make_parser(ctx).parse_args(args=list(args))
        left = {name: iter(value) for name, value in given.items() if isinstance(value, list)}
        words = []
        for param in order:
            if isinstance(param, FilterOption) and param.name:
                text = next(left[param.name]) if param.name in left else ""
                words.append((param.name.replace("_", "-"), text))
        ctx.meta[WORDS] = [
            (name, text or (FLAGS[name].constant if name in FLAGS else "")) for name, text in words
        ]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Filters apart from the rest."""
        for title, is_filter in (("Options", False), ("Filters", True)):
            rows = [
                row
                for param in self.get_params(ctx)
                if isinstance(param, click.Option)
                and isinstance(param, FilterOption) is is_filter
                and (row := param.get_help_record(ctx)) is not None
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def filter_option(flag: FilterFlag) -> FilterOption:
    """The option of a flag."""
    names = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
    if flag.constant:
        return FilterOption(names, is_flag=True, expose_value=False, help=flag.help)
    return FilterOption(
        names, multiple=True, expose_value=False, metavar=flag.metavar, help=flag.help
    )


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds every filter flag, and `--not`."""
    known = [filter_option(flag) for flag in FLAGS.values()]
    negation = FilterOption(
        [f"--{NOT}"], is_flag=True, expose_value=False, help="not what the next filter says"
    )
    params = getattr(command, "__click_params__", [])
    command.__click_params__ = [*reversed([negation, *known]), *params]  # type: ignore[attr-defined]  # click keeps it there
    return command


def raw_filters(texts: tuple[str, ...]) -> list[Json]:
    """The FlowFilters of `--allowlist` or `--denylist`: each word one or several of them.

    Raises:
        ClientError: something else than JSON objects.
    """
    found: list[Json] = []
    decoder = json.JSONDecoder()
    for text in texts:
        rest = text.strip()
        while rest:
            try:
                value, end = decoder.raw_decode(rest)
            except ValueError:
                value, end = None, 0
            if not isinstance(value, dict):
                raise ClientError(
                    f"a raw filter is not JSON: {rest[:60]}",
                    """it looks like '{"source_pod":["default/xwing"]}'""",
                )
            found.append(value)
            rest = rest[end:].strip()
    return found


@click.command(cls=ObserveCommand)
@click.argument("kind", default="flows", type=click.Choice(KINDS), metavar="[KIND]")
@click.option("--last", type=click.IntRange(min=0), help=f"the last N [{DEFAULT_LAST}]")
@click.option("--first", type=click.IntRange(min=0), help="the first N")
@click.option("--all", "all_", is_flag=True, help="all there are")
@click.option("-f", "--follow", is_flag=True, help="go on with new ones as they come")
@click.option("--since", metavar="TIME", help="from then on: 5m (ago), 2026-09-21T14:13:20Z …")
@click.option("--until", metavar="TIME", help="up to then")
@option("-o", "--output", default="compact", type=click.Choice(FORMATS), help="format of lines")
@click.option("--why", is_flag=True, help="add the policy, the rule and its line to a verdict")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="count instead: the N most")
@click.option(
    "--by",
    metavar="KEY,…",
    default="source,destination",
    help="… by these: pod, workload, identity, service, port, verdict, drop-reason, policy …",
)
@option(
    "--time-format",
    default="StampMilli",
    type=click.Choice(tuple(LAYOUTS)),
    metavar="LAYOUT",
    help=f"{', '.join(LAYOUTS)}; always UTC",
)
@option("--color", default="auto", type=click.Choice(("auto", "always", "never")), help="colours")
@option("--numeric", is_flag=True, help="no names")
@option("--ip-translation", type=bool, default=True, help="names of pods for addresses")
@option("--print-node-name", is_flag=True, help="add the node")
@option("--print-policy-names", is_flag=True, help="add names of policies to verdicts")
@click.option("--input-file", metavar="FILE", help="read JSON lines; - is the standard input")
@click.option("--allowlist", multiple=True, metavar="JSON", help="a FlowFilter, as it is")
@click.option("--denylist", multiple=True, metavar="JSON", help="one of flows not to show")
@click.option("--print-raw-filters", is_flag=True, help="show the FlowFilters and do nothing")
@click.option("--field-mask", metavar="FIELD,…", help="only these fields (with -o json)")
@click.option(
    "--use-default-field-masks", type=bool, default=True, help="ask only for what is shown"
)
@click.option("-s", "--silent-errors", is_flag=True, help="no news of nodes on stderr")
@filter_options
@server_options
@click.pass_context
def observe(ctx: click.Context, /, kind: str, server: ServerFlags, **given: Any) -> None:
    """Show flows of this node or cluster; or KIND: agent-events, debug-events.

    A filter that is given twice means either, different filters mean all of them.
    """
    request = request_of(kind, given, ctx.meta[WORDS])
    if given["print_raw_filters"]:
        click.echo(filters_text(request))
        return
    show = importlib.import_module("cilia.cli.hubble.show")
    if given["input_file"]:
        messages = importlib.import_module("cilia.cli.hubble.recorded").messages(
            given["input_file"], kind, request
        )
    else:
        messages = asked(server, kind, request)
    if given["top"]:
        click.echo(show.top(messages, given["top"], given["by"].split(",")))
        return
    show.lines(messages, given, coloured=is_coloured(given["color"]), debug=is_debugging())


def asked(server: ServerFlags, kind: str, request: Json) -> Any:
    """The stream of a server; one that is followed outlives it."""

    def connected() -> Any:
        return connect(server, of_node=kind != "flows")

    debug(f"asking for {kind}: {json.dumps(request)}")
    method = kind.replace("-", "_")
    if not request.get("follow"):
        return getattr(connected(), method)(request)
    follower = importlib.import_module("cilia.cli.hubble.following").Follower(
        connected, method, lambda news: click.echo(news, err=True)
    )
    return follower.messages(request)


def is_coloured(choice: str) -> bool:
    """Whether lines get colours: by default on a terminal only."""
    if choice == "auto":
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return choice == "always"


def request_of(kind: str, given: dict[str, Any], words: list[tuple[str, str]]) -> Json:
    """The request of these flags: the selection, `allow`, `deny` and `fields`.

    Raises:
        click.UsageError: flags that cannot go together.
    """
    output, counted = given["output"], bool(given["top"])
    if given["follow"] and (output in TABLES or counted):
        what = "--top" if counted else f"-o {output}"
        raise click.UsageError(f"--follow never ends, and {what} waits for the end")
    if given["field_mask"] and output not in JSON:
        raise click.UsageError("--field-mask is for -o json: other outputs need their fields")
    if kind != "flows" and (words or given["allowlist"] or given["denylist"] or counted):
        raise click.UsageError(f"filters and --top are for flows, not for {kind}")
    names = ("first", "last", "follow", "since", "until")
    chosen = Selection(**{name: given[name] for name in names}, all=given["all_"])
    try:
        allow, deny = filter_lists(words)
        request = selection_request(
            chosen, time.time_ns(), default=ALL if counted or given["input_file"] else DEFAULT_LAST
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    request["allow"] = allow + raw_filters(given["allowlist"])
    request["deny"] = deny + raw_filters(given["denylist"])
    request["fields"] = fields_of(given)
    return request


def fields_of(given: dict[str, Any]) -> list[str]:
    """The fields to ask for; none means all."""
    if given["field_mask"]:
        return str(given["field_mask"]).split(",")
    if not given["use_default_field_masks"]:
        return []
    policies = given["why"] or given["print_policy_names"] or bool(given["top"])
    return field_mask(given["output"], policies=policies, grouped=bool(given["top"]))


def filters_text(request: Json) -> str:
    """The filters, one a line, ready to be given as raw filters again."""
    lines = []
    for title, key in (("allowlist", "allow"), ("denylist", "deny")):
        if request[key]:
            lines.append(f"{title}:")
            lines += [f"    - '{json.dumps(one, separators=(',', ':'))}'" for one in request[key]]
    return "\n".join(lines) or "no filters"
