"""Links: attach, pin, adopt, replace, and what is left when the device goes."""

import struct
from pathlib import Path

import pytest

from cilia.kernel import links, netns
from cilia.kernel.errors import NotFoundError
from cilia.kernel.features import features
from cilia.kernel.links import Hook, Link
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.objects import BpfObject, Program
from cilia.kernel.rtnetlink import VethEnd, create_veth, delete_link, link

NEEDS_TCX = pytest.mark.skipif(
    features().kernel < (6, 6), reason="TCX links are there from kernel 6.6; clsact is tried below"
)
FIRST, SECOND = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture
def device(namespace: Path) -> int:
    with NetlinkSocket(namespace) as connection:
        connection.commit(create_veth(VethEnd("v0", FIRST), VethEnd("v1", SECOND), 1500))
        row = link(connection, "v0")
    assert row is not None
    return row.index


def load(path: Path, mark: int) -> Program:
    with BpfObject(path) as one:
        one.set_global("settings", struct.pack("<II", 0, mark))
        return one.load("judge").programs["judge"]


@NEEDS_TCX
def test_a_pinned_link_is_adopted_and_its_program_replaced(
    probe_path: Path, namespace: Path, device: int, pins: Path
) -> None:
    old, new = load(probe_path, 1), load(probe_path, 2)
    with netns.inside(namespace), links.attach_device(old, device, Hook.TCX_INGRESS) as made:
        made.pin(pins / "link")
        number = made.facts().id
    with Link.open(pins / "link") as adopted:
        facts = adopted.facts()
        assert (facts.id, facts.program_id) == (number, old.facts().id)
        assert (facts.ifindex, facts.hook) == (device, Hook.TCX_INGRESS)
        adopted.update(new)
        assert adopted.facts().program_id == new.facts().id
        assert adopted.facts().id == number


@NEEDS_TCX
def test_a_link_outlives_its_device_and_says_so(
    probe_path: Path, namespace: Path, device: int, pins: Path
) -> None:
    program = load(probe_path, 1)
    with netns.inside(namespace), links.attach_device(program, device, Hook.TCX_EGRESS) as made:
        made.pin(pins / "link")
    with NetlinkSocket(namespace) as connection:
        connection.commit(delete_link("v0"))
    with Link.open(pins / "link") as left:
        assert left.facts().ifindex == 0


@NEEDS_TCX
def test_an_unpinned_link_goes_with_its_value(
    probe_path: Path, namespace: Path, device: int
) -> None:
    program = load(probe_path, 1)
    with netns.inside(namespace):
        links.attach_device(program, device, Hook.TCX_INGRESS).close()
        with links.attach_device(program, device, Hook.TCX_INGRESS) as again:
            assert again.facts().ifindex == device
            again.detach()
            assert again.facts().ifindex == 0


@NEEDS_TCX
def test_no_device_no_link(probe_path: Path, namespace: Path) -> None:
    program = load(probe_path, 1)
    with netns.inside(namespace), pytest.raises(NotFoundError, match="TCX_INGRESS of ifindex 999"):
        links.attach_device(program, 999, Hook.TCX_INGRESS)
    with pytest.raises(NotFoundError, match="open pinned link"):
        Link.open(Path("/sys/fs/bpf/ct-nothing"))


def test_clsact_for_older_kernels(probe_path: Path, namespace: Path, device: int) -> None:
    old, new = load(probe_path, 1), load(probe_path, 2)
    with netns.inside(namespace):
        assert links.clsact_program(device, Hook.TCX_INGRESS) == 0
        links.attach_clsact(old, device, Hook.TCX_INGRESS)
        links.attach_clsact(old, device, Hook.TCX_EGRESS)
        assert links.clsact_program(device, Hook.TCX_INGRESS) == old.facts().id
        links.attach_clsact(new, device, Hook.TCX_INGRESS)
        assert links.clsact_program(device, Hook.TCX_INGRESS) == new.facts().id
        assert links.clsact_program(device, Hook.TCX_EGRESS) == old.facts().id


def test_a_link_on_a_cgroup(probe: BpfObject, cgroup: Path, pins: Path) -> None:
    program = probe.load("on_connect").programs["on_connect"]
    with links.attach_cgroup(program, cgroup, Hook.CGROUP_INET4_CONNECT) as made:
        made.pin(pins / "link")
        facts = made.facts()
    assert (facts.cgroup_id, facts.hook) == (cgroup.stat().st_ino, Hook.CGROUP_INET4_CONNECT)
    (pins / "link").unlink()
    with pytest.raises(NotFoundError, match="open cgroup"):
        links.attach_cgroup(program, cgroup / "none", Hook.CGROUP_INET4_CONNECT)


@NEEDS_TCX
def test_asking_for_tcx_leaves_nothing(probe_path: Path) -> None:
    assert links.has_tcx(load(probe_path, 1))
