"""Records to events, filters, and subscribers that are slow."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cilia
from cilia.cli.events import event_line
from cilia.hubble.events import FILES, event_of
from cilia.hubble.monitor import Filters, Monitor, Subscriber
from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.kernel.btf import Btf

LAYOUT = Path(cilia.__file__).parent / "datapath/objects/layout.bpf.o"
RECORD = Btf.from_object(LAYOUT).struct("event_record")
V4 = bytes(10) + b"\xff\xff"


class KnownNames:
    """Names of the Star Wars demo."""

    def endpoint(self, number: int) -> EndpointName | None:
        return {7: EndpointName("default/xwing"), 8: EndpointName("default/deathstar")}.get(number)

    def pod_at(self, address: str, identity: int) -> str:
        return {("10.0.2.9", 301): "default/far"}.get((address, identity), "")

    def labels(self, identity: int) -> list[str]:
        return {300: ["k8s:org=alliance"], 301: ["k8s:org=empire"]}.get(identity, [])

    def policies(self, provenance: int) -> list[PolicyRef]:
        rule = PolicyRef("CiliumNetworkPolicy", "default", "rule1")
        return [rule] if provenance else []


def records(**fields: object) -> np.ndarray:
    rows = np.zeros(1, RECORD)
    defaults = {
        "type": 1,
        "subtype": 133,
        "verdict": 2,
        "protocol": 6,
        "source": V4 + b"\x0a\x00\x01\x05",
        "destination": V4 + b"\x0a\x00\x01\x06",
        "source_port": 40000,
        "destination_port": 80,
        "source_identity": 300,
        "destination_identity": 301,
        "source_endpoint": 7,
        "destination_endpoint": 8,
        "provenance": 5,
        "tcp_flags": 2,
        "file": 1,
        "line": 99,
    }
    for name, value in (defaults | fields).items():
        rows[name] = np.void(value) if isinstance(value, bytes) else value
    return rows


def test_a_policy_drop_says_which_policy_closed_the_door() -> None:
    event = event_of(records()[0], KnownNames(), 0)
    assert event["subtype"] == "Policy denied"
    assert event["because"] == "closed by"
    assert event["policies"] == [
        {"kind": "CiliumNetworkPolicy", "namespace": "default", "name": "rule1"}
    ]
    line = event_line(event)
    assert "xx drop (Policy denied)" in line
    assert "10.0.1.5:40000 -> 10.0.1.6:80 tcp SYN" in line
    assert "(default/xwing -> default/deathstar)" in line
    assert "closed by CiliumNetworkPolicy default/rule1" in line


def test_every_source_file_of_the_programs_has_its_name() -> None:
    declared = Btf.from_object(LAYOUT).enum("source_file")
    assert {number: f"FILE_{name.split('.')[0].upper()}" for number, name in FILES.items()} == {
        number: name for name, number in declared.items()
    }


def test_a_deny_rule_denies_rather_than_closes() -> None:
    assert event_of(records(subtype=181)[0], KnownNames(), 0)["because"] == "denied by"


def test_an_allowing_verdict_names_match_and_action() -> None:
    event = event_of(records(type=5, subtype=0, verdict=1, match=2)[0], KnownNames(), 0)
    assert (event["action"], event["match"], event["because"]) == ("allow", "L3-L4", "allowed by")
    assert "ingress, action allow" in event_line(event)


def test_a_trace_names_its_point_and_reason() -> None:
    event = event_of(records(type=4, subtype=0, reason=2, provenance=0)[0], KnownNames(), 0)
    assert (event["subtype"], event["reason"]) == ("to-endpoint", "reply")
    assert event_line(event).startswith("-> endpoint 8 flow")


@given(st.binary(min_size=120, max_size=120))
def test_any_bytes_become_an_event_and_a_line(raw: bytes) -> None:
    event = event_of(np.frombuffer(raw, RECORD)[0], KnownNames(), 0)
    assert json.loads(json.dumps(event)) == event
    if event["type"] in ("drop", "trace", "policy-verdict"):
        assert event_line(event)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 4, 5, 7]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)
        )
    ),
    st.sets(st.sampled_from(["drop", "trace", "policy-verdict", "trace-sock", "agent", "l7"])),
    st.sets(st.integers(0, 3)),
    st.sets(st.integers(0, 3)),
    st.sets(st.integers(0, 3)),
    st.sets(st.sampled_from(["eth0", "lxc1", "2", "9", ""])),
)
def test_filters_agree_with_a_naive_reading(
    rows: list[tuple[int, int, int, int]],
    types: set[str],
    sources: set[int],
    destinations: set[int],
    related: set[int],
    interfaces: set[str],
) -> None:
    batch = np.zeros(len(rows), RECORD)
    for record, (kind, source, destination, ifindex) in zip(batch, rows, strict=True):
        record["type"], record["source_endpoint"] = kind, source
        record["destination_endpoint"], record["ifindex"] = destination, ifindex
    filters = Filters(*map(tuple, (types, sources, destinations, related, interfaces)))
    names = {1: "drop", 4: "trace", 5: "policy-verdict", 7: "trace-sock"}
    devices = {1: {"eth0", "1"}, 2: {"lxc1", "2"}, 3: {"", "3"}}
    expected = [
        row
        for row in rows
        if (not types or names[row[0]] in types)
        and (not sources or row[1] in sources)
        and (not destinations or row[2] in destinations)
        and (not related or row[1] in related or row[2] in related)
        and (not interfaces or devices.get(row[3], set()) & interfaces)
    ]
    found = filters.matching(batch, lambda index: {1: "eth0", 2: "lxc1"}.get(index, ""))
    fields = ("type", "source_endpoint", "destination_endpoint", "ifindex")
    assert [tuple(int(r[name]) for name in fields) for r in found] == expected


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="policy-verdict"):
        Filters(types=("drops",))


def test_who_wants_news_of_the_agent() -> None:
    assert Filters().wants_agent
    assert Filters(types=("agent", "drop")).wants_agent
    assert not Filters(types=("drop",)).wants_agent
    assert not Filters(related=(1,)).wants_agent
    assert not Filters(interfaces=("eth0",)).wants_agent


def test_a_slow_subscriber_is_told_what_it_lost() -> None:
    async def scene() -> bytes:
        subscriber = Subscriber(Filters(), limit=2)
        subscriber.offer({"n": n} for n in range(5))
        return await subscriber.take()

    lines = [json.loads(line) for line in asyncio.run(scene()).splitlines()]
    assert lines[:2] == [{"n": 0}, {"n": 1}]
    assert lines[2]["lost"] == 3


def test_a_stream_greets_filters_and_ends_with_its_client(tmp_path: Path) -> None:
    async def scene() -> list[dict[str, object]]:
        monitor = Monitor({"type": "listening"}, lambda index: f"dev{index}", RECORD)
        path = str(tmp_path / "monitor.sock")
        server = await asyncio.start_unix_server(monitor.serve, path)
        async with server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"types": ["drop", "agent"], "raw": true}\n')
            lines = [json.loads(await reader.readline())]
            monitor.announce({"type": "agent"})
            both = np.concatenate([records(), records(type=4, subtype=0)])
            monitor.publish(both, lambda record: {"type": int(record["type"])})
            lines += [json.loads(await reader.readline()) for _ in range(2)]
            writer.close()
            async with asyncio.timeout(5):
                while monitor.is_watched:
                    await asyncio.sleep(0)
        return lines

    greeting, news, drop = asyncio.run(scene())
    assert (greeting, news) == ({"type": "listening"}, {"type": "agent"})
    assert drop == {"type": 1, "interface": "dev0", "raw": records().tobytes().hex()}


def test_bad_filters_are_answered_with_an_error(tmp_path: Path) -> None:
    async def scene() -> dict[str, object]:
        path = str(tmp_path / "monitor.sock")
        server = await asyncio.start_unix_server(Monitor({}).serve, path)
        async with server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"types": 7}\n')
            line = await reader.readline()
            writer.close()
        answer: dict[str, object] = json.loads(line)
        return answer

    assert "types" in str(asyncio.run(scene())["error"])
