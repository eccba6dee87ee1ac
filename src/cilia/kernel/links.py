"""Links: a program on a hook, for as long as the link or its pin lives.

On devices: TCX links from 6.6, which share the hook with other people's
programs and are replaced atomically; clsact filters below. On cgroups: links.

Source:
    Linux Documentation/bpf/libbpf/program_types.rst; include/uapi/linux/bpf.h
    (enum bpf_attach_type, enum bpf_link_type); kernel/bpf/tcx.c.
"""

import errno
import os
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec

from cilia.kernel.errors import kernel_error
from cilia.kernel.libbpf import bpf, check, ffi
from cilia.kernel.objects import Program


class Hook(IntEnum):
    """enum bpf_attach_type, as far as we use it."""

    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_UDP4_SENDMSG = 14
    CGROUP_UDP6_SENDMSG = 15
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    TCX_INGRESS = 46
    TCX_EGRESS = 47


TCX = (Hook.TCX_INGRESS, Hook.TCX_EGRESS)
_LINK_CGROUP, _LINK_TCX = 3, 11


class LinkFacts(msgspec.Struct, frozen=True):
    """What the kernel says of a link."""

    id: int
    program_id: int
    hook: int
    """enum bpf_attach_type; 0 when the kind of link has none."""
    ifindex: int
    """Of a TCX link; 0: its device is gone, or it is another kind."""
    cgroup_id: int
    """Of a cgroup link, else 0."""


class Link:
    """An open link. Detaches when this value goes, unless it is pinned."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    @classmethod
    def open(cls, path: Path) -> "Link":
        """A pinned link.

        Raises:
            NotFoundError: Nothing is pinned there.
        """
        return cls(check(bpf.bpf_obj_get(bytes(path)), "open", f"pinned link {path}"), path.name)

    def pin(self, path: Path) -> None:
        """Keeps the program attached under `path` on a bpf file system."""
        check(bpf.bpf_obj_pin(self.fd, bytes(path)), "pin", f"link {self.name} at {path}")

    def update(self, program: Program) -> None:
        """Replaces the link's program: every packet meets the old one or the new one."""
        result = bpf.bpf_link_update(self.fd, program.fd, ffi.NULL)
        check(result, "replace the program of", f"link {self.name} by {program.name}")

    def detach(self) -> None:
        """Takes the program off the hook, whoever else holds the link."""
        check(bpf.bpf_link_detach(self.fd), "detach", f"link {self.name}")

    def facts(self) -> LinkFacts:
        """Program, hook and device, from the kernel."""
        found = ffi.new("struct bpf_link_info *")
        size = ffi.new("__u32 *", ffi.sizeof(found[0]))
        check(bpf.bpf_obj_get_info_by_fd(self.fd, found, size), "ask about", f"link {self.name}")
        tcx, cgroup = found.type == _LINK_TCX, found.type == _LINK_CGROUP
        return LinkFacts(
            id=int(found.id),
            program_id=int(found.prog_id),
            hook=int(found.tcx.attach_type if tcx else found.cgroup.attach_type if cgroup else 0),
            ifindex=int(found.tcx.ifindex) if tcx else 0,
            cgroup_id=int(found.cgroup.cgroup_id) if cgroup else 0,
        )

    def close(self) -> None:
        """Lets go of the file descriptor; an unpinned link detaches."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def attach_device(program: Program, ifindex: int, hook: Hook) -> Link:
    """A TCX link on a device of the calling thread's network namespace.

    Raises:
        NotFoundError: No such device here.
        KernelError: EINVAL on kernels below 6.6; see `has_tcx`.
    """
    fd = bpf.bpf_link_create(program.fd, ifindex, int(hook), ffi.NULL)
    where = f"program {program.name} to {hook.name} of ifindex {ifindex}"
    return Link(check(fd, "attach", where), program.name)


def attach_cgroup(program: Program, cgroup: Path, hook: Hook) -> Link:
    """A link on a cgroup v2 folder; it holds for every process below it."""
    try:
        folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        number = error.errno or errno.EIO
        raise kernel_error("open", f"cgroup {cgroup}", number) from error
    try:
        fd = bpf.bpf_link_create(program.fd, folder, int(hook), ffi.NULL)
        where = f"program {program.name} to {hook.name} of cgroup {cgroup}"
        return Link(check(fd, "attach", where), program.name)
    finally:
        os.close(folder)


def has_tcx(program: Program) -> bool:
    """Whether this kernel knows TCX links: asked with a device that cannot exist."""
    result = bpf.bpf_link_create(program.fd, 0x7FFFFFFF, int(Hook.TCX_INGRESS), ffi.NULL)
    return bool(result == -errno.ENODEV)


def attach_clsact(program: Program, ifindex: int, hook: Hook, priority: int = 1) -> None:
    """Puts a program on a device with a clsact filter, or replaces ours there.

    For kernels below 6.6. The filter has no owner: it stays until its device goes,
    so there is nothing to pin.
    """
    place, options = _clsact(ifindex, hook, priority)
    made = bpf.bpf_tc_hook_create(place)
    if made != -errno.EEXIST:
        check(made, "make a clsact queue on", f"ifindex {ifindex}")
    options.prog_fd, options.flags = program.fd, 1  # BPF_TC_F_REPLACE
    where = f"program {program.name} to clsact {hook.name} of ifindex {ifindex}"
    check(bpf.bpf_tc_attach(place, options), "attach", where)


def clsact_program(ifindex: int, hook: Hook, priority: int = 1) -> int:
    """Id of the program in our clsact filter of a device, 0 when there is none."""
    place, options = _clsact(ifindex, hook, priority)
    return int(options.prog_id) if bpf.bpf_tc_query(place, options) == 0 else 0


def _clsact(ifindex: int, hook: Hook, priority: int) -> tuple[Any, Any]:
    place, options = ffi.new("struct bpf_tc_hook *"), ffi.new("struct bpf_tc_opts *")
    place.sz, place.ifindex = ffi.sizeof(place[0]), ifindex
    place.attach_point = 1 if hook is Hook.TCX_INGRESS else 2
    options.sz, options.handle, options.priority = ffi.sizeof(options[0]), 1, priority
    return place, options
