"""`cilia policy validate`: policy files judged without agent or cluster."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from cilia.cli.errors import ClientError
from cilia.cli.grammar import output_option
from cilia.cli.output import colour, emit
from cilia.policy.sources import Context
from cilia.policy.trial.documents import (
    BrokenInput,
    Document,
    manifest_files,
    parse_documents,
    read_documents,
)
from cilia.policy.validation import Findings, Severity, validate

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@click.command("validate")
@click.argument("paths", metavar="FILE…", nargs=-1, required=True)
@click.option("--cluster", default="default", show_default=True, help="the cluster's name")
@click.option("--nodes-by-label", is_flag=True, help="the agents' enable-node-selector-labels")
@output_option
def validate_(paths: tuple[str, ...], cluster: str, nodes_by_label: bool, output: str) -> int:
    """Judge the policies in files, in folders, or (-) in what is piped in.

    Each finding is a line: file and line, field, what is wrong, what to write instead.
    Exit codes: 0 none would be refused (there may be warnings), 1 one would.
    """
    try:
        found = validate(documents_of(paths), Context(cluster, nodes_by_label=nodes_by_label))
    except BrokenInput as error:
        raise ClientError(str(error)) from None
    if not found.policies:
        raise ClientError(f"no policy in {' '.join(paths)}", "name files that hold some")
    lines = [colour(str(each), COLOURS[each.severity]) for each in found.findings]
    emit(msgspec.to_builtins(found.findings), output, "\n".join([*lines, summary(found)]))
    return 1 if found.errors else 0


def documents_of(paths: Iterable[str]) -> list[Document]:
    """Every document of these files.

    Raises:
        BrokenInput: One cannot be read, or is not YAML.
    """
    found: list[Document] = []
    for path in paths:
        if path == "-":
            found += parse_documents(sys.stdin.read(), "<stdin>")
            continue
        for file in manifest_files(Path(path)):
            found += read_documents(file)
    return found


def summary(found: Findings) -> str:
    """`3 policies: 1 error, 2 warnings`."""
    warnings = len(found.findings) - found.errors
    told = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((found.errors, "error"), (warnings, "warning"))
        if count
    ]
    policies = f"{found.policies} polic{'y' if found.policies == 1 else 'ies'}"
    return f"{policies}: {', '.join(told) or 'valid'}"
