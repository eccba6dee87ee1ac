"""What the observer calls endpoints and pods, when numbers and addresses change hands."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cilia
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
