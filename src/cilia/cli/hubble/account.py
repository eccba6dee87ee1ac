"""What an observer saw and what it lost, in lines of `cilia status`."""

from pathlib import Path
from typing import Any

from cilia.cli.client import AgentClient
from cilia.cli.errors import ClientError

Json = Any

TIMEOUT_S = 2.0


def read_account(path: Path) -> Json | None:
    """The account of the observer at a socket; None: nobody answers there."""
    if not path.exists():
        return None
    try:
        return AgentClient(path, TIMEOUT_S, server="observer").get("/v1/account")
    except ClientError:
        return None


def events_text(account: Json) -> str:
    """Events: sent is seen and lost, and what is on its way."""
    events, slow = account["events"], account["slow-readers"]
    words = [f"{events['sent']:,} sent", f"{events['seen']:,} seen", f"{events['lost']:,} lost"]
    if events["waiting"]:
        words.append(f"{events['waiting']:,} waiting")
    missed = slow["flows"] + slow["monitor"]
    if missed:
        words.append(f"{missed:,} missed by slow readers")
    return ", ".join(words)


def connections_text(account: Json) -> str:
    """Connections: what was counted of them, and what of that is in no total."""
    counts = account["connections"]
    text = (
        f"{counts['connections']:,} live, {counts['ended']:,} ended, "
        f"{counts['packets']:,} packets harvested"
    )
    if not counts["missed_packets"]:
        return text
    share = 100 * counts["missed_packets"] / counts["counted_packets"]
    return f"{text}, {counts['missed_packets']:,} missed ({share:.2g}%)"
