"""What the engine needs to know again after a restart, so that its numbers hold."""

import logging
import os
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)


class Hints(msgspec.Struct, frozen=True):
    """Numbers of the engine that ran before on this node."""

    secret: bytes = b""
    """What class keys are made with."""
    classes: dict[str, int] = {}
    """Class key in hexadecimal -> class."""
    next_class: int = 1
    next_policy: int = 1
    next_provenance: int = 1
    revision: int = 0

    def beyond(self, *, policy: int, policy_class: int, provenance: int, revision: int) -> "Hints":
        """These hints, with counters past the numbers given."""
        return msgspec.structs.replace(
            self,
            next_policy=max(self.next_policy, policy + 1),
            next_class=max(self.next_class, policy_class + 1),
            next_provenance=max(self.next_provenance, provenance + 1),
            revision=max(self.revision, revision),
        )


def read_hints(path: Path) -> Hints:
    """The hints in a file; fresh ones when it is not there or not readable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Hints)
    except FileNotFoundError:
        return Hints()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("policy hints not read", extra={"path": str(path), "error": str(error)})
        return Hints()


def write_hints(path: Path, hints: Hints) -> None:
    """Replaces the file at once, so that a reader finds the old hints or the new ones."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.encode(hints))
        os.replace(fresh, path)
    except OSError as error:
        # Without hints the next agent renumbers classes, which costs a moment, not safety.
        log.warning("policy hints not written", extra={"path": str(path), "error": str(error)})
