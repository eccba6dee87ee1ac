"""The command tree's machinery: lazy groups, common options, errors to exit codes."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cilia.cli.errors import ClientError
from cilia.cli.places import Place
from cilia.model.errors import CiliaError

if TYPE_CHECKING:
    from cilia.cli.client import AgentClient

output_option = click.option(
    "-o",
    "--output",
    default="table",
    metavar="FORMAT",
    help="table, wide, json, yaml or jsonpath='{.field}'",
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Args:
        lazy: command word -> "module:attribute", or an alias's target word.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = self._lazy.get(cmd_name)
        if target is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


class AliasGroup(LazyGroup):
    """A lazy group that also answers to the short words fingers know: ls, show, inspect."""

    ALIASES: Mapping[str, str] = {"ls": "list", "show": "get", "inspect": "get"}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.ALIASES.get(cmd_name, cmd_name))


def place() -> Place:
    """Which node this invocation talks to."""
    found = click.get_current_context().find_object(Place)
    assert found is not None
    return found


def agent() -> "AgentClient":
    """The REST client of that node."""
    # By name: what it imports costs a tenth of a command that asks somebody else.
    client = importlib.import_module("cilia.cli.client")
    made: AgentClient = client.AgentClient(place().agent_socket)
    return made


def run(command: Callable[..., Any], arguments: list[str], name: str) -> NoReturn:
    """Runs a click command; errors become one line what, one line what to do.

    Exit codes: 0 done, 1 failed or refused, 2 the words are wrong, 130 interrupted.
    """
    try:
        code = command(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except ClientError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.remedy:
            click.echo(f"  {error.remedy}", err=True)
        sys.exit(error.exit_code)
    except CiliaError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
