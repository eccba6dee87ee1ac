"""A container's own view of files, made in its own mount namespace.

An overlay on the image (or on the host's root, for the images of the built-in
catalogue) with its changes on a tmpfs of its own. Everything is mounted in the
container's mount namespace, so it is gone with the container's last process.
"""

import os
from typing import TypedDict

from cilia.lab.kubelet.shim import linux


class Bind(TypedDict):
    """A file or folder of the host shown in the container."""

    source: str
    target: str
    read_only: bool


class File(TypedDict):
    """A small file laid over the image."""

    path: str
    text: str
    mode: int


class RootSpec(TypedDict):
    """What a container's root is made of."""

    base: str
    """Empty folder of the pod; the container mounts its tmpfs here."""
    lower: str
    """Folder that holds the image's files, or "/": the host's root."""
    copies: list[str]
    """Folders copied over `lower` (an overlay cannot have two layers in one tree)."""
    files: list[File]
    links: list[list[str]]
    """Pairs path, target."""
    binds: list[Bind]
    masks: list[str]
    """Folders of the host that the container must not see."""


_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
            "tty": (5, 0)}  # fmt: skip
_DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_SCRATCH = linux.MS_NOSUID | linux.MS_NODEV


def enter_root(spec: RootSpec) -> None:
    """Moves this process into a new mount namespace whose root is as `spec` says."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    base = spec["base"]
    os.makedirs(base, exist_ok=True)
    linux.mount("tmpfs", base, "tmpfs", options="mode=755")
    upper, work, root = (os.path.join(base, name) for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        os.mkdir(folder, 0o755)
    _lay_over(upper, spec)
    options = f"lowerdir={spec['lower']},upperdir={upper},workdir={work}"
    linux.mount("overlay", root, "overlay", options=options)
    _mount_kernel(root)
    for folder in (*spec["masks"], "/run", "/tmp"):
        if os.path.isdir(root + folder):
            mode = "1777" if folder == "/tmp" else "755"
            linux.mount("tmpfs", root + folder, "tmpfs", _SCRATCH, f"mode={mode}")
    for item in spec["binds"]:
        _show(root, item)
    linux.pivot_root(root)


def _lay_over(upper: str, spec: RootSpec) -> None:
    for folder in spec["copies"]:
        if os.spawnlp(os.P_WAIT, "cp", "cp", "-a", f"{folder}/.", upper):
            raise OSError(f"copy image folder {folder}: cp failed")
    for name in ("dev", "proc", "sys", "run", "tmp"):
        os.makedirs(os.path.join(upper, name), exist_ok=True)
    for item in spec["files"]:
        path = upper + item["path"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(item["text"])
        os.chmod(path, item["mode"])
    for path, target in spec["links"]:
        os.makedirs(os.path.dirname(upper + path), exist_ok=True)
        os.symlink(target, upper + path)


def _mount_kernel(root: str) -> None:
    quiet = linux.MS_NOSUID | linux.MS_NOEXEC | linux.MS_NODEV
    linux.mount("proc", f"{root}/proc", "proc", quiet)
    linux.mount("sysfs", f"{root}/sys", "sysfs", quiet | linux.MS_RDONLY)
    linux.mount("tmpfs", f"{root}/dev", "tmpfs", linux.MS_NOSUID, "mode=755")
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{root}/dev/{name}", 0o020666, os.makedev(major, minor))
        os.chmod(f"{root}/dev/{name}", 0o666)
    for name, target in _DEV_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/pts")
    os.mkdir(f"{root}/dev/shm")
    options = "newinstance,ptmxmode=0666,mode=0620"
    linux.mount("devpts", f"{root}/dev/pts", "devpts", linux.MS_NOSUID | linux.MS_NOEXEC, options)
    linux.mount("tmpfs", f"{root}/dev/shm", "tmpfs", _SCRATCH, "mode=1777")


def _show(root: str, item: Bind) -> None:
    target = root + item["target"]
    if os.path.isdir(item["source"]):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.bind(item["source"], target, read_only=item["read_only"])
