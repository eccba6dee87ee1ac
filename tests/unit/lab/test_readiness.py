from datetime import UTC, datetime
from typing import Any

from cilia.lab.manifests import demo_objects
from cilia.lab.readiness import Readiness

CONDITIONS = [{"type": "Ready", "status": "True"}]
REBOOT = datetime(2030, 1, 1, 12, 0, 0, 700_000, tzinfo=UTC)
STATUS = {"observedGeneration": 1, "availableReplicas": 2}
DEATHSTAR = next(one for one in demo_objects("starwars") if one["kind"] == "Deployment")
DEATHSTAR["metadata"]["generation"] = 1
DEATHSTAR["status"] = STATUS


def pod(name: str, started: str = "2030-01-01T12:00:00Z", **labels: str) -> dict[str, Any]:
    status = {
        "conditions": CONDITIONS,
        "containerStatuses": [{"state": {"running": {"startedAt": started}}}],
    }
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"metadata": metadata, "status": status}


def node() -> dict[str, Any]:
    return {"metadata": {"name": "node-1"}, "status": {"conditions": CONDITIONS}}


def filled(since: datetime | None, started: str) -> Readiness:
    readiness = Readiness(("node-1",), since)
    readiness.want("starwars", demo_objects("starwars"))
    readiness.put("Node", node())
    for name in ("tiefighter", "xwing"):
        readiness.put("Pod", pod(name, started))
    for name in ("deathstar-1", "deathstar-2"):
        labels = {"org": "empire", "class": "deathstar"}
        readiness.put("Pod", pod(name, started, **labels))
    readiness.put("Deployment", DEATHSTAR)
    return readiness


def test_nothing_is_ready_before_it_says_so() -> None:
    readiness = Readiness(("node-1",))
    readiness.want("starwars", demo_objects("starwars"))
    readiness.put("Node", {"metadata": {"name": "node-1"}})
    assert readiness.complete() == []
    assert readiness.missing() == [
        "node node-1",
        "deployment default/deathstar",
        "pod default/tiefighter",
        "pod default/xwing",
    ]


def test_a_lab_is_ready_when_everything_wanted_is() -> None:
    readiness = filled(None, "2029-12-31T00:00:00Z")
    assert readiness.missing() == []
    assert readiness.complete() == ["node-1", "starwars"]
    readiness.drop("Deployment", DEATHSTAR)
    assert readiness.missing() == ["deployment default/deathstar"]
    readiness.reset("Node", [])
    assert "node node-1" in readiness.missing()


def test_what_pods_said_before_a_reboot_is_not_believed() -> None:
    assert filled(REBOOT, "2030-01-01T12:00:00Z").missing() == []
    assert filled(REBOOT, "2030-01-01T11:59:59Z").missing() == [
        "deployment default/deathstar",
        "pod default/tiefighter",
        "pod default/xwing",
    ]
