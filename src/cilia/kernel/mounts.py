"""bpf file systems and the cgroup v2 tree.

Source:
    mount(2), proc_pid_mountinfo(5); Linux Documentation/admin-guide/cgroup-v2.rst.
"""

import os
from pathlib import Path

from cilia.kernel.errors import UnsupportedError
from cilia.kernel.libbpf import check_libc, libc


def mounted(kind: str) -> list[Path]:
    """Where file systems of a kind are mounted, as this process sees them, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == kind:
            found.append(Path(fields[4].encode().decode("unicode_escape")))
    return found


def is_bpffs(path: Path) -> bool:
    """Whether `path`, which may not exist yet, lies on a bpf file system."""
    place = path.resolve()
    mounts = {one.resolve() for one in mounted("bpf")}
    while not place.exists():
        place = place.parent
    device = os.stat(place).st_dev
    return any(os.stat(one).st_dev == device for one in mounts if one.exists())


def mount_bpffs(path: Path) -> None:
    """Makes the folder `path` on a bpf file system; mounts one there if none is above it."""
    if not is_bpffs(path):
        path.mkdir(parents=True, exist_ok=True)
        done = libc.mount(b"bpf", bytes(path), b"bpf", 0, b"mode=0700")
        check_libc(done, "mount", f"bpf file system at {path}")
    path.mkdir(parents=True, exist_ok=True)


def unmount(path: Path) -> None:
    """Unmounts what is mounted at `path`."""
    check_libc(libc.umount2(bytes(path), 0), "unmount", str(path))


def cgroup2_root() -> Path:
    """Where cgroup v2 is mounted: /sys/fs/cgroup, or beside version 1 (hybrid) elsewhere.

    Raises:
        UnsupportedError: It is not mounted.
    """
    found = mounted("cgroup2")
    for path in found:
        if path.is_relative_to("/sys/fs/cgroup"):
            return path
    if found:
        return found[0]
    raise UnsupportedError("cgroup v2", "mount -t cgroup2 none /sys/fs/cgroup")
