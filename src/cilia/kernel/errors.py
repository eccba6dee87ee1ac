"""What goes wrong between us and the kernel.

model.errors.KernelError   a system call failed: what, on what, why
├── NotFoundError          no such map, program, link, device, namespace
├── ExistsError            already there, and may not be replaced
├── RefusedError           no permission
├── VerifierError          the kernel refused a program
├── MapFull
│   └── MapFullError       a map has no room for another row
└── Unsupported
    └── UnsupportedError   this kernel cannot do it
"""

import errno as numbers

from cilia.model.errors import KernelError, MapFull, Unsupported


class NotFoundError(KernelError):
    """What was named does not exist."""


class ExistsError(KernelError):
    """What was to be made exists already."""


class RefusedError(KernelError):
    """The kernel wants more rights than this process has."""

    def __init__(self, operation: str, errno: int, detail: str = "") -> None:
        super().__init__(
            operation, errno, detail or "run as root, or give CAP_BPF and CAP_NET_ADMIN"
        )


class MapFullError(MapFull):
    """A map has no room: the row was not written, and what needs it stays closed."""

    def __init__(self, name: str, max_entries: int, written: int = 0, rows: int = 1) -> None:
        self.name = name
        self.max_entries = max_entries
        self.written = written
        """How many rows of the batch were written before the map was full."""
        super().__init__(
            f"update map {name}",
            numbers.ENOSPC,
            f"all {max_entries} entries are in use ({written} of {rows} rows written): "
            f"remove what is not needed, or raise {name} in map-sizes and restart the agent",
        )


class VerifierError(KernelError):
    """The kernel's verifier refused a program; the text is the one line that explains it."""

    def __init__(self, program: str, errno: int, log: str) -> None:
        self.program = program
        self.log = log
        """All that the verifier said."""
        self.reason = verifier_reason(log)
        super().__init__(f"load program {program}", errno, self.reason)


class UnsupportedError(Unsupported):
    """This kernel cannot do what was asked."""

    def __init__(self, feature: str, needs: str) -> None:
        self.needs = needs
        """The kernel version or option that brings it."""
        super().__init__(f"use {feature}", numbers.EOPNOTSUPP, f"needs {needs}")


_SUMMARIES = ("processed ", "verification time", "stack depth", "-- ", "libbpf:", "mark_precise")


def verifier_reason(log: str) -> str:
    """The last line of a verifier log that is neither a summary nor an instruction dump.

    >>> verifier_reason("0: (b7) r0 = 0\\nR1 invalid mem access 'scalar'\\nprocessed 1 insns")
    "R1 invalid mem access 'scalar'"
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for line in reversed(lines):
        if not line.startswith(_SUMMARIES):
            return line
    return "the verifier gave no reason"


_CLASSES: dict[int, type[KernelError]] = {
    numbers.ENOENT: NotFoundError,
    numbers.ENODEV: NotFoundError,
    numbers.ESRCH: NotFoundError,
    numbers.EEXIST: ExistsError,
    numbers.EPERM: RefusedError,
    numbers.EACCES: RefusedError,
}


def kernel_error(action: str, target: str, errno: int, remedy: str = "") -> KernelError:
    """The error for an errno, of the class that callers catch; see this file's drawing."""
    return _CLASSES.get(errno, KernelError)(f"{action} {target}", errno, remedy)
