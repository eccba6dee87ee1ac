"""Streams to the terminal."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cilia.cli.errors import ClientError
from cilia.cli.hubble.lines import Look, Message, Printer
from cilia.cli.hubble.top import BOTH, KEYS, Top, keys_of
from cilia.cli.hubble.wording import Names
from cilia.hubble.proto.flow.flow_pb2 import Flow


def lines(
    messages: Iterable[Message], given: Mapping[str, Any], *, coloured: bool, debug: bool = False
) -> None:
    """Prints every event as the flags of `observe` want it."""
    look = Look(
        output=given["output"],
        layout=given["time_format"],
        names=Names(numeric=given["numeric"], pods=given["ip_translation"]),
        coloured=coloured,
        nodes=given["print_node_name"],
        policies=given["print_policy_names"],
        why=given["why"],
        debug=debug,
        bare=os.environ.get("HUBBLE_COMPAT") == "legacy-json-output",
    )
    errors = open(os.devnull, "w") if given["silent_errors"] else sys.stderr  # noqa: SIM115 - open until the process ends
    printer = Printer(look, sys.stdout, errors, follow=given["follow"])
    try:
        for message in messages:
            printer.write(message)
    finally:
        printer.close()


def top(messages: Iterable[Message], number: int, by: Sequence[str]) -> str:
    """The most frequent flows as a table.

    Raises:
        ClientError: a key that flows are not counted by.
    """
    keys = keys_of(by)
    unknown = [name for name in keys if name not in KEYS]
    if unknown:
        known = ", ".join((*KEYS, *BOTH))
        raise ClientError(f"cannot count by {', '.join(unknown)}", f"keys: {known}")
    counted = Top(keys)
    counted.count(_flows(messages))
    return counted.text(number)


def _flows(messages: Iterable[Message]) -> Iterator[Flow]:
    return (one.flow for one in messages if one.WhichOneof("response_types") == "flow")
