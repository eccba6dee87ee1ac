"""What this machine must have before a lab can run, and what to type where it has not."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from cilia.lab.site import BPFFS_ROOT, find_cgroup2

OLDEST_KERNEL = (6, 1)
COMMANDS = {"ip": "iproute2", "nsenter": "util-linux", "mount": "mount"}
"""Commands that the lab calls, with the Debian package of each."""


class Machine(msgspec.Struct, frozen=True):
    """What was found on this machine."""

    user: int
    kernel: str
    btf: bool
    bpffs: bool
    cgroup2: Path | None
    commands: frozenset[str]


class Problem(msgspec.Struct, frozen=True):
    """One thing that is missing."""

    what: str
    remedy: str


def problems(machine: Machine) -> list[Problem]:
    """Everything that keeps a lab from running on this machine, most basic first."""
    found = []
    if machine.user != 0:
        found.append(
            Problem("cilia lab needs root: it makes namespaces and loads eBPF", "sudo cilia lab up")
        )
    if kernel_version(machine.kernel) < OLDEST_KERNEL:
        found.append(
            Problem(
                f"this kernel is {machine.kernel}; cilia needs 6.1 or newer",
                "apt install linux-image-amd64, then boot it (Debian 12 has 6.1)",
            )
        )
    if not machine.btf:
        found.append(
            Problem(
                "this kernel has no type information (/sys/kernel/btf/vmlinux)",
                "boot a kernel with CONFIG_DEBUG_INFO_BTF=y (every Debian kernel has it)",
            )
        )
    if not machine.bpffs:
        found.append(
            Problem(f"no bpf file system at {BPFFS_ROOT}", f"mount -t bpf bpf {BPFFS_ROOT}")
        )
    if machine.cgroup2 is None:
        found.append(
            Problem(
                "no cgroup v2 hierarchy is mounted",
                "mkdir -p /sys/fs/cgroup/unified && "
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
            )
        )
    packages = sorted({COMMANDS[name] for name in COMMANDS if name not in machine.commands})
    if packages:
        missing = sorted(set(COMMANDS) - machine.commands)
        found.append(
            Problem(f"missing commands: {', '.join(missing)}", f"apt install {' '.join(packages)}")
        )
    return found


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor number of a kernel release; (0, 0) if it has none.

    >>> kernel_version("6.18.44-amd64")
    (6, 18)
    """
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def prepare() -> None:
    """Mounts the bpf file system where a kernel that has one lacks the mount."""
    if os.geteuid() == 0 and not BPFFS_ROOT.is_mount() and BPFFS_ROOT.is_dir():
        subprocess.run(
            ["mount", "-t", "bpf", "bpf", str(BPFFS_ROOT)], capture_output=True, check=False
        )


def inspect() -> Machine:
    """This machine, as the checks see it."""
    return Machine(
        user=os.geteuid(),
        kernel=platform.release(),
        btf=Path("/sys/kernel/btf/vmlinux").exists(),
        bpffs=BPFFS_ROOT.is_mount(),
        cgroup2=find_cgroup2(Path("/proc/self/mountinfo").read_text()),
        commands=frozenset(name for name in COMMANDS if shutil.which(name, path=search_path())),
    )


def search_path() -> str:
    """PATH with the administrator's folders, which a plain user's may lack."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
