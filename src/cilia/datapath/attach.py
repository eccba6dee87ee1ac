"""Which program sits on which hook, and that it does.

A plan says what shall be attached where; `Attacher` makes it so, and leaves
alone what is so already. Links are pinned as `links/<device>_<program>`.
"""

import contextlib
from pathlib import Path

import msgspec

from cilia.datapath import loader
from cilia.kernel import links, netns
from cilia.kernel.errors import NotFoundError
from cilia.kernel.links import Hook, Link
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.objects import Program
from cilia.kernel.rtnetlink import (
    LinkRow,
    VethEnd,
    create_veth,
    disable_link_local,
    link,
    set_link,
)
from cilia.model.errors import NotFound
from cilia.model.site import NodeSite

HOST_DEVICE = "cilia_host"
"""The node's own end: its stack sends to pods through it."""
HOST_PEER = "cilia_net"
HOST_MAC = "02:00:63:69:6c:68"

CGROUP_HOOKS = {
    "sock_connect4": Hook.CGROUP_INET4_CONNECT,
    "sock_connect6": Hook.CGROUP_INET6_CONNECT,
    "sock_sendmsg4": Hook.CGROUP_UDP4_SENDMSG,
    "sock_sendmsg6": Hook.CGROUP_UDP6_SENDMSG,
    "sock_recvmsg4": Hook.CGROUP_UDP4_RECVMSG,
    "sock_recvmsg6": Hook.CGROUP_UDP6_RECVMSG,
    "sock_peer4": Hook.CGROUP_INET4_GETPEERNAME,
    "sock_peer6": Hook.CGROUP_INET6_GETPEERNAME,
}


class Attachment(msgspec.Struct, frozen=True):
    """One program on one hook."""

    program: str
    hook: Hook
    device: str
    """Name of the device; "cgroup" for a cgroup."""
    ifindex: int = 0
    cgroup: Path | None = None

    @property
    def pin(self) -> str:
        """Name of the link's pin."""
        return f"{self.device}_{self.program}"


def pod_plan(device: str, ifindex: int) -> tuple[Attachment, ...]:
    """What a pod's host-side device carries."""
    return (Attachment("pod_from", Hook.TCX_INGRESS, device, ifindex),)


def host_plan(host_ifindex: int, net: str, net_ifindex: int) -> tuple[Attachment, ...]:
    """What cilia_host and the device to the network carry."""
    return (
        Attachment("host_to_pod", Hook.TCX_EGRESS, HOST_DEVICE, host_ifindex),
        Attachment("host_from_net", Hook.TCX_INGRESS, net, net_ifindex),
        Attachment("host_to_net", Hook.TCX_EGRESS, net, net_ifindex),
    )


def cgroup_plan(cgroup: Path) -> tuple[Attachment, ...]:
    """What the node's cgroup carries: services at the socket."""
    return tuple(
        Attachment(program, hook, "cgroup", cgroup=cgroup) for program, hook in CGROUP_HOOKS.items()
    )


class Attacher:
    """Keeps a node's programs on their hooks."""

    def __init__(self, site: NodeSite, programs: dict[str, Program]) -> None:
        """Works with the programs that `loader.load` gave."""
        self._site = site
        self._programs = programs
        self._ids = {name: program.facts().id for name, program in programs.items()}
        some = next(iter(programs.values()))
        self._tcx = links.has_tcx(programs.get("pod_from", some))

    @property
    def has_tcx(self) -> bool:
        """Whether programs are on TCX links; False: on clsact, as kernels before 6.6 have it."""
        return self._tcx

    def apply(self, *attachments: Attachment) -> None:
        """Attaches what is not attached yet; replaces what runs another program.

        Call it in the node's network namespace, or let the site say where that is.

        Raises:
            NotFoundError: The device or cgroup is not there.
        """
        with netns.inside(self._site.netns):
            for one in attachments:
                if one.cgroup is None and not self._tcx:
                    links.attach_clsact(self._programs[one.program], one.ifindex, one.hook)
                else:
                    self._link(one)

    def _link(self, wanted: Attachment) -> None:
        pin = loader.pins(self._site, "links") / wanted.pin
        program = self._programs[wanted.program]
        with contextlib.suppress(NotFoundError), Link.open(pin) as existing:
            found = existing.facts()
            if self._is_at(found, wanted):
                if found.program_id != self._ids[wanted.program]:
                    existing.update(program)
                return
        pin.unlink(missing_ok=True)
        if wanted.cgroup is not None:
            made = links.attach_cgroup(program, wanted.cgroup, wanted.hook)
        else:
            made = links.attach_device(program, wanted.ifindex, wanted.hook)
        with made:
            made.pin(pin)

    @staticmethod
    def _is_at(found: links.LinkFacts, wanted: Attachment) -> bool:
        if wanted.cgroup is not None:
            same = found.cgroup_id == wanted.cgroup.stat().st_ino
        else:
            same = found.ifindex == wanted.ifindex
        return same and found.hook == wanted.hook

    def detach(self, device: str) -> None:
        """Removes the pins of a device's links, which detaches its programs."""
        for pin in loader.links(self._site):
            program = loader.link_program(pin)
            if program and pin.name == f"{device}_{program}":
                pin.unlink(missing_ok=True)

    def attached(self) -> dict[str, links.LinkFacts]:
        """Facts of every pinned link, by pin name; ifindex 0 and no cgroup: its place is gone."""
        found = {}
        for pin in loader.links(self._site):
            with contextlib.suppress(NotFoundError), Link.open(pin) as one:
                found[pin.name] = one.facts()
        return found


def ensure_host_device(connection: NetlinkSocket, mtu: int) -> LinkRow:
    """cilia_host, made when it is missing: one end of a veth pair whose other end is idle.

    A dummy device would do, but not every kernel has that driver; veth is there
    wherever pods are.
    """
    found = link(connection, HOST_DEVICE)
    if found is None:
        peer_mac = HOST_MAC[:-1] + "9"
        connection.commit(
            create_veth(VethEnd(HOST_DEVICE, HOST_MAC), VethEnd(HOST_PEER, peer_mac), mtu)
        )
        found = link(connection, HOST_DEVICE)
    other = link(connection, HOST_PEER)
    if found is None or other is None:
        raise NotFound(f"{HOST_DEVICE} or {HOST_PEER} went away while it was set up")
    for index in (found.index, other.index):
        connection.commit(disable_link_local(index), set_link(index, up=True, mtu=mtu))
    return found
