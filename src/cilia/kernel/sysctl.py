"""Kernel parameters under /proc/sys/net, which belong to a network namespace.

Source:
    Linux Documentation/networking/ip-sysctl.rst.
"""

from pathlib import Path

from cilia.kernel import netns
from cilia.kernel.errors import kernel_error

_ROOT = Path("/proc/sys/net")


def write(name: str, value: int | str, namespace: str | Path | None = None) -> None:
    """Sets a parameter such as `ipv4/ip_forward`; `/` between the words, since a device
    may have dots in its name.

    Raises:
        NotFoundError: This kernel, or this namespace, has no such parameter.
    """
    with netns.inside(namespace):
        try:
            with (_ROOT / name).open("w") as file:
                file.write(str(value))
        except OSError as error:
            raise kernel_error(f"write {value} to", f"net/{name}", error.errno or 0) from error


def read(name: str, namespace: str | Path | None = None) -> str:
    """The parameter's text, without the line's end."""
    with netns.inside(namespace):
        try:
            return (_ROOT / name).read_text().rstrip("\n")
        except OSError as error:
            raise kernel_error("read", f"net/{name}", error.errno or 0) from error
