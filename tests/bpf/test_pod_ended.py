"""What a connection counted outlives its entry, and a tally holds all that was counted."""

from typing import Any

from scapy.layers.inet import TCP, UDP

from bpf.harness import C, Datapath

Row = dict[str, Any]


def send(pod: Datapath, version: int, flags: str, reply: bool = False) -> str:
    """A segment of the connection from a:40000 to b:80, or back; what became of it."""
    ends = ("b", "a", 80, 40000) if reply else ("a", "b", 40000, 80)
    packet = pod.frame(version, *ends[:2]) / TCP(sport=ends[2], dport=ends[3], flags=flags)
    return pod.run("pod_from", packet, device="lxcb" if reply else "lxca").action


def ended(pod: Datapath) -> list[Row]:
    """Rows of the map: key and entry as one dict each."""
    keys, values = pod.maps["ended"].entries()
    return [
        {name: key["key"][name].tolist() for name in key["key"].dtype.names}
        | {"id": int(key["first_seen"])}
        | {name: value[name].tolist() for name in value.dtype.names}
        for key, value in zip(keys, values, strict=True)
    ]


def tally(pod: Datapath) -> Row:
    """The sum over CPUs."""
    rows = pod.maps["tally"].lookup(0)
    return {name: int(rows[name].sum()) for name in rows.dtype.names}


def counted(pod: Datapath) -> tuple[int, int]:
    """Packets and bytes in conntrack and in what has ended."""
    rows = [*pod.connections(), *ended(pod)]
    return sum(sum(row["packets"]) for row in rows), sum(sum(row["bytes"]) for row in rows)


def test_a_port_used_again_keeps_what_was_counted_before(pod: Datapath, version: int) -> None:
    for flags, reply in (("S", False), ("SA", True), ("FA", False), ("FA", True)):
        send(pod, version, flags, reply)
    (before,) = pod.connections()

    send(pod, version, "S")

    (kept,) = ended(pod)
    (now,) = pod.connections()
    assert kept["packets"] == before["packets"] == [2, 2]
    assert kept["bytes"] == before["bytes"]
    assert kept["id"] == before["first_seen"] != now["first_seen"]
    assert now["packets"] == [1, 0]


def test_an_expired_connection_that_begins_anew_is_kept(pod: Datapath, version: int) -> None:
    packet = pod.frame(version, "a", "b") / UDP(sport=1, dport=2)
    pod.run("pod_from", packet)
    pod.edit_connections(expires_s=1)

    pod.run("pod_from", packet)

    assert [row["packets"] for row in (*ended(pod), *pod.connections())] == [[1, 0], [1, 0]]


def test_what_policy_ends_is_kept(pod: Datapath, version: int) -> None:
    for flags, reply in (("S", False), ("SA", True), ("A", False)):
        send(pod, version, flags, reply)
    pod.enforce("b", "INGRESS_ENFORCED", generation=2)
    pod.classify(pod.a.identity, 7)
    pod.rule(pod.b, "INGRESS", "DEFAULT_DENY")

    assert send(pod, version, "A") == "drop"

    assert pod.connections() == []
    assert [row["packets"] for row in ended(pod)] == [[2, 1]]
    assert tally(pod)["packets"] == 3, "what is refused is no traffic"


def test_a_refused_syn_ends_nothing(pod: Datapath, version: int) -> None:
    for flags, reply in (("S", False), ("SA", True), ("A", False)):
        send(pod, version, flags, reply)
    pod.enforce("a", "INGRESS_ENFORCED")
    pod.classify(pod.b.identity, 7)
    pod.rule(pod.a, "INGRESS", "DEFAULT_DENY")

    assert send(pod, version, "S", reply=True) == "drop"

    assert ended(pod) == []


def test_the_tally_is_what_all_connections_counted(pod: Datapath, version: int) -> None:
    for _ in range(3):
        for flags, reply in (("S", False), ("SA", True), ("A", False), ("R", True)):
            send(pod, version, flags, reply)
    pod.run("pod_from", pod.frame(version, "a", "b") / UDP(sport=1, dport=2) / (b"x" * 500))

    found = tally(pod)

    assert (found["packets"], found["bytes"]) == counted(pod)
    assert (found["packets"], found["begun"], found["refused"]) == (13, 4, 0)


def test_an_end_without_room_is_counted(load, version: int) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    pod = load("pod", full=("ended",))
    for flags, reply in (("S", False), ("R", True), ("S", False)):
        assert send(pod, version, flags, reply) == "redirect"

    assert tally(pod)["refused"] == 1
    assert counted(pod)[0] == tally(pod)["packets"] - 2
    assert C["CONNTRACK_LOW_BEGAN"] & pod.connections()[0]["flags"]
