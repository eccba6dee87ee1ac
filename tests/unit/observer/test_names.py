"""What the observer calls endpoints and pods, when numbers and addresses change hands."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cilia
from cilia.hubble.store import FlowStore
from cilia.kernel.btf import Btf
from cilia.observer import names as names_module
from cilia.observer.names import AgentNames

LAYOUT = Path(cilia.__file__).parent / "datapath/objects/layout.bpf.o"
RECORD = Btf.from_object(LAYOUT).struct("event_record")
V4 = bytes(10) + b"\xff\xff"


def record(**fields: object) -> np.ndarray:
    rows = np.zeros(1, RECORD)
    for name, value in fields.items():
        rows[name] = np.void(value) if isinstance(value, bytes) else value
    return rows


def local(last: int) -> np.ndarray:
    return record(source_endpoint=7, source_identity=300, source=V4 + bytes([10, 0, 1, last]))


def endpoint(pod: str, address: str) -> dict[str, Any]:
    status = {
        "external-identifiers": {"pod-name": pod},
        "networking": {"addressing": [{"ipv4": address}]},
    }
    return {"id": 7, "status": status}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    held: dict[str, Any] = {}

    async def fetch(path: Path, target: str) -> Any:
        return held.get(target)

    monkeypatch.setattr(names_module, "fetch", fetch)
    return held


def test_a_number_given_anew_is_asked_for_again(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    answers["/v1/endpoint"] = [endpoint("default/old", "10.0.1.5")]
    asyncio.run(names.learn(local(5)))
    answers["/v1/endpoint"] = [endpoint("default/new", "10.0.1.6")]

    asyncio.run(names.learn(local(6)))

    found = names.endpoint(7)
    assert found is not None
    assert found.pod == "default/new"


def test_a_pod_of_another_node_has_its_name(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    metadata = {"namespace": "default", "name": "far"}
    answers["/v1/ip"] = [{"cidr": "10.0.2.9/32", "identity": 301, "metadata": metadata}]

    asyncio.run(names.learn(record(source_identity=301, source=V4 + bytes([10, 0, 2, 9]))))

    assert names.pod_at("10.0.2.9", 301) == "default/far"
    assert names.pod_at("10.0.2.9", 302) == ""


def test_a_pod_elsewhere_passes_its_address_on(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    far = record(source_identity=301, source=V4 + bytes([10, 0, 2, 9]))
    store = FlowStore(RECORD, 8)
    for revision, pod in enumerate(("web-abc", "web-xyz")):
        metadata = {"namespace": "default", "name": pod, "workload": "Deployment/web"}
        answers["/v1/ip"] = [{"cidr": "10.0.2.9/32", "identity": 301, "metadata": metadata}]
        answers["/v1/revisions"] = {"ipcache": revision}
        store.add(far, 0)
        assert asyncio.run(names.refresh())
        store.parties.join(names)
        store.add(far, 0)
    assert not asyncio.run(names.refresh()), "nothing has changed"
    seen = [
        store.parties.rows[store.row(number)["source_party"][0]].pod
        for number in range(store.total)
    ]
    assert seen == ["web-abc", "web-abc", "web-abc", "web-xyz"], "old flows keep the old name"
    assert names.workloads("default/web-xyz") == (("web", "Deployment"),)


def test_a_deleted_pod_keeps_its_name(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    answers["/v1/endpoint"] = [endpoint("default/gone", "10.0.1.5")]
    answers["/v1/revisions"] = {"endpoints": 1}
    store = FlowStore(RECORD, 8)
    store.add(local(5), 0)
    asyncio.run(names.refresh())
    store.parties.join(names)

    answers["/v1/endpoint"] = []
    answers["/v1/revisions"] = {"endpoints": 2}
    assert asyncio.run(names.refresh())
    store.parties.join(names)

    assert store.parties.rows[store.row(0)["source_party"][0]].pod == "gone"


def test_services_and_labels_of_the_node_are_learned(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    front = {"ip": "10.96.0.7", "port": 80, "protocol": "TCP"}
    flags = {"namespace": "default", "name": "deathstar"}
    answers["/v1/service"] = [{"spec": {"frontend-address": front, "flags": flags}}]
    answers["/v1/cluster/nodes"] = {
        "self": "default/a",
        "nodes-added": [
            {"name": "default/b", "labels": {"zone": "b"}},
            {
                "name": "default/a",
                "labels": {"zone": "a", "arch": "x"},
                "primary-address": {"ipv4": {"alloc-range": "x"}, "ipv6": {"alloc-range": "y"}},
            },
        ],
    }
    called = record(type=7, subtype=1, destination_port=80, protocol=6,
                    destination=V4 + bytes([10, 96, 0, 7]))  # fmt: skip
    asyncio.run(names.learn(called))
    assert names.service("10.96.0.7", 80, 6) == "default/deathstar"
    assert names.service("10.96.0.7", 80, 17) == ""
    answers["/v1/revisions"] = {"nodes": 1}
    asyncio.run(names.refresh())
    assert names.node_labels == ("arch=x", "zone=a")
    assert names.is_dual_stack


def far_pod(name: str) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name}
    return {"cidr": "10.0.2.9/32", "identity": 301, "metadata": metadata}


def test_what_could_not_be_learned_is_asked_for_again(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    answers["/v1/revisions"] = {"agent": 1, "ipcache": 4}
    assert not asyncio.run(names.refresh()), "the agent died between the two answers"

    answers["/v1/ip"] = [far_pod("web")]
    assert asyncio.run(names.refresh())
    assert names.pod_at("10.0.2.9", 301) == "default/web"


def test_equal_revisions_of_another_agent_say_nothing(answers: dict[str, Any]) -> None:
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    for agent in (1, 2):
        answers["/v1/revisions"] = {"agent": agent, "ipcache": 4}
        answers["/v1/ip"] = [far_pod(f"web-{agent}")]
        assert asyncio.run(names.refresh())
        assert names.pod_at("10.0.2.9", 301) == f"default/web-{agent}"


def test_questions_are_not_remembered_for_ever(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "ASKED", 10)
    monkeypatch.setattr(names_module, "REFRESH_S", 0.0)
    names = AgentNames(Path("agent.sock"), retry_s=0.0)
    for identity in range(1, 100):
        asyncio.run(names.learn(record(source_identity=identity)))
    assert len(names._asked) <= 12


def test_a_question_that_was_broken_off_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    async def fetch(path: Path, target: str) -> Any:
        asked.append(target)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return [{"id": 2, "labels": ["reserved:world"]}]

    async def run() -> AgentNames:
        names = AgentNames(Path("agent.sock"), retry_s=3600.0)
        first = asyncio.create_task(names.learn(record(source_identity=2)))
        while not asked:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await names.learn(record(source_identity=2))
        return names

    monkeypatch.setattr(names_module, "fetch", fetch)
    assert asyncio.run(run()).labels(2) == ("reserved:world",)


def test_an_answer_that_was_cut_off_is_none(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 200 OK\r\n\r\n[{"id": 3')
        writer.close()

    async def run() -> Any:
        path = tmp_path / "agent.sock"
        async with await asyncio.start_unix_server(answer, path):
            return await names_module.fetch(path, "/v1/identity")

    assert asyncio.run(run()) is None
