"""Records: whole or absent, and a broken one hurts nobody else."""

from pathlib import Path

import pytest

from cilia.endpoint.devices import device_name, random_mac
from cilia.endpoint.journal import Journal
from cilia.endpoint.kernel import closed_entry
from cilia.endpoint.store import EndpointRecord, EndpointStore


def record(number: int) -> EndpointRecord:
    return EndpointRecord(
        id=number, namespace="default", pod=f"p{number}", uid="u", container=f"c{number}",
        ifname="eth0", netns="/run/netns/x", device=device_name(f"c{number}", "eth0"),
        mac=random_mac(), host_mac=random_mac(), v4="10.0.1.5", v6="fd00::5", mtu=1500,
    )  # fmt: skip


def test_records_come_back_in_order(tmp_path: Path) -> None:
    store = EndpointStore(tmp_path / "made" / "when needed")
    assert store.load() == []
    many = [record(number) for number in (11, 2, 300)]
    for one in many:
        store.save(one)
        store.save(one)
    assert store.load() == sorted(many, key=lambda one: one.id)
    store.delete(2)
    store.delete(2)
    assert [one.id for one in store.load()] == [11, 300]


def test_a_broken_record_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EndpointStore(tmp_path)
    store.save(record(1))
    (tmp_path / "2.json").write_text('{"id": "x"')
    assert [one.id for one in store.load()] == [1]
    assert "endpoint record unreadable" in caplog.text


def test_a_new_row_is_closed() -> None:
    entry = closed_entry(record(1), 7)
    assert (entry.ready, entry.policy, entry.identity, entry.ifindex) == (False, 0, 0, 7)


def test_names_fit_and_differ() -> None:
    names = {device_name("c", ifname) for ifname in ("eth0", "eth1")}
    assert len(names) == 2
    assert all(len(name) == 13 and name.startswith("lxc") for name in names)
    assert int(random_mac()[:2], 16) & 3 == 2


def test_the_journal_keeps_the_newest() -> None:
    journal = Journal()
    for number in range(100):
        journal.note(1, "ready", str(number), failed=number == 99)
    entries = journal.of(1)
    assert (len(entries), entries[0].message, entries[0].code) == (64, "99", "failed")
    assert entries[0].timestamp.endswith("Z")
    journal.forget(1)
    assert journal.of(1) == []
