"""What can go wrong, as one tree.

    CiliaError
    ├── InvalidValue          a text or number that is not what it should be
    │   └── PolicyError       a policy object that cannot be accepted
    │       └── NotSupported  … because it asks for what is not enforced yet
    ├── NotFound              a thing that was named is not there
    ├── Conflict              a thing is already there, or has changed meanwhile
    └── KernelError           the kernel refused
        ├── MapFull           … because a map is at its limit
        └── Unsupported       … because it is too old or lacks an option

A message says what was being done, to what, what went wrong, and the remedy.
Rooms add classes of their own below these.
"""

import os


class CiliaError(Exception):
    """Everything that cilia raises on purpose."""


class InvalidValue(CiliaError, ValueError):
    """A text or number from outside is not what it should be."""


class PolicyError(InvalidValue):
    """A policy object that is refused as a whole.

    Attributes:
        where: The object, as `kind namespace/name`.
        path: The field, as `spec.ingress[0].toPorts[0].ports[0].port`.
        value: What was found there, as text; empty when the field is missing.
        problem: What is wrong with it.
        remedy: What to write instead; empty when nothing can be said.
    """

    def __init__(
        self, where: str, path: str, problem: str, *, value: str = "", remedy: str = ""
    ) -> None:
        self.where = where
        self.path = path
        self.value = value
        self.problem = problem
        self.remedy = remedy
        found = f" {value}" if value else ""
        hint = f"; {remedy}" if remedy else ""
        super().__init__(f"{where}: {path}{found}: {problem}{hint}")


class NotSupported(PolicyError):
    """A valid policy that asks for what is not enforced yet, so it is not enforced at all."""


class NotFound(CiliaError, LookupError):
    """A thing that was named is not there."""


class Conflict(CiliaError):
    """A thing is already there, or has changed in the meantime."""


class KernelError(CiliaError, OSError):
    """The kernel refused an operation.

    Attributes:
        operation: What was asked and of what, as "update map ipcache 10.0.0.0/24".
        errno: The kernel's error number, positive.
    """

    def __init__(self, operation: str, errno: int, detail: str = "") -> None:
        super().__init__(errno, os.strerror(errno))
        self.operation = operation
        self.detail = detail

    def __str__(self) -> str:
        suffix = f" ({self.detail})" if self.detail else ""
        return f"{self.operation}: {self.strerror}{suffix}"


class MapFull(KernelError):
    """A map is at its limit; what did not fit is treated as closed."""


class Unsupported(KernelError):
    """This kernel lacks what is needed; `detail` says which version or option has it."""
