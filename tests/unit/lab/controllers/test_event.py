from cilia.lab.controllers.cluster import (
    DEPLOYMENTS,
    NODES,
    PODS,
    Change,
    Cluster,
    Create,
    Object,
)
from cilia.lab.controllers.deployment import deployment_changes
from cilia.lab.controllers.event import Told, event_of, told_of
from cilia.lab.controllers.replicaset import replicaset_changes
from cilia.lab.controllers.scheduler import scheduling_changes

from .simulation import NOW, Simulation, deployment


def test_people_are_told_of_what_was_done() -> None:
    simulation, told = Simulation(), []
    simulation.add(NODES, {"metadata": {"name": "node-1"}})
    simulation.add(DEPLOYMENTS, deployment(1))

    def listened(changes: list[Change], cluster: Cluster) -> list[Change]:
        for change in changes:
            answer: Object = {}
            if isinstance(change, Create):
                metadata = {"name": "made", **change.object["metadata"]}
                answer = {**change.object, "metadata": metadata}
            told.append(told_of(change, answer, cluster))
        return changes

    def settle() -> list[tuple[str, str, str]]:
        told.clear()
        simulation.settle(
            lambda cluster: listened(deployment_changes(cluster, NOW), cluster),
            lambda cluster: listened(replicaset_changes(cluster, NOW), cluster),
            lambda cluster: listened(scheduling_changes(cluster, NOW), cluster),
        )
        return [(one.subject["kind"], one.reason, one.message) for one in told if one]

    (first, second, third) = settle()
    assert first[:2] == ("Deployment", "ScalingReplicaSet")
    assert first[2].endswith("from 0 to 1")
    assert second == ("ReplicaSet", "SuccessfulCreate", "Created pod: made")
    assert third[:2] == ("Pod", "Scheduled")
    (made,) = simulation.cluster.all(DEPLOYMENTS)
    simulation.change(DEPLOYMENTS, made, {"spec": {"replicas": 0}})
    (pod,) = simulation.cluster.all(PODS)
    scaled, deleted = settle()
    assert scaled[2].endswith("from 1 to 0")
    assert deleted[2] == f"Deleted pod: {pod['metadata']['name']}"


def test_an_event_is_an_object_of_its_subjects_namespace() -> None:
    subject = {"kind": "Pod", "namespace": "shop", "name": "web", "uid": "1"}
    cluster = Simulation().cluster
    assert told_of(Create(NODES, {}), {}, cluster) is None
    event = event_of(Told("default-scheduler", subject, "Scheduled", "here"), 255, NOW)
    assert event["metadata"] == {"name": "web.ff", "namespace": "shop"}
    assert event["lastTimestamp"] == "2030-01-01T00:00:00Z"
