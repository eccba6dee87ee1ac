from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.lab.controllers.cluster import DEPLOYMENTS, PODS, REPLICASETS, Object
from cilia.lab.controllers.deployment import deployment_changes, revision_of, template_hash
from cilia.lab.controllers.pod import is_ready
from cilia.lab.controllers.replicaset import replicaset_changes, wanted_replicas

from .simulation import NOW, Simulation, deployment


def settle(simulation: Simulation) -> None:
    simulation.settle(
        lambda cluster: deployment_changes(cluster, NOW),
        lambda cluster: replicaset_changes(cluster, NOW),
    )


def pods(simulation: Simulation) -> list[Object]:
    return simulation.cluster.all(PODS)


def images(simulation: Simulation) -> list[str]:
    return [one["spec"]["containers"][0]["image"] for one in pods(simulation)]


def make_all_ready(simulation: Simulation) -> None:
    for one in pods(simulation):
        if not is_ready(one):
            simulation.make_ready(one)


def finish(simulation: Simulation) -> None:
    for _ in range(30):
        settle(simulation)
        make_all_ready(simulation)
    settle(simulation)


def the_deployment(simulation: Simulation) -> Object:
    (found,) = simulation.cluster.all(DEPLOYMENTS)
    return found


def edit(simulation: Simulation, spec: dict[str, Any]) -> None:
    simulation.change(DEPLOYMENTS, the_deployment(simulation), {"spec": spec})


def condition(item: Object, kind: str) -> tuple[str, str]:
    (found,) = [one for one in item["status"]["conditions"] if one["type"] == kind]
    return found["status"], found["reason"]


def test_a_deployment_becomes_pods_and_says_so() -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(3))
    settle(simulation)
    assert len(pods(simulation)) == 3
    assert condition(the_deployment(simulation), "Available")[0] == "False"
    finish(simulation)
    status = the_deployment(simulation)["status"]
    assert status["availableReplicas"] == status["updatedReplicas"] == status["replicas"] == 3
    assert status["observedGeneration"] == 1
    assert condition(the_deployment(simulation), "Progressing") == (
        "True",
        "NewReplicaSetAvailable",
    )
    assert revision_of(the_deployment(simulation)) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 5), st.sampled_from(["one", "two", "three"])), max_size=8),
    st.sampled_from(["RollingUpdate", "Recreate"]),
    st.data(),
)
def test_whatever_is_edited_and_when_the_last_word_holds(
    edits: list[int | str], strategy: str, data: st.DataObject
) -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(2, strategy={"type": strategy}))
    replicas, image = 2, "one"
    for one in edits:
        settle(simulation)
        for candidate in pods(simulation):
            if data.draw(st.booleans()):
                simulation.make_ready(candidate, data.draw(st.booleans()))
        if isinstance(one, int):
            replicas = one
            edit(simulation, {"replicas": replicas})
        else:
            image = one
            containers = [{"image": image}]
            edit(simulation, {"template": {"spec": {"containers": containers}}})
    finish(simulation)
    assert images(simulation) == [image] * replicas
    assert condition(the_deployment(simulation), "Available")[0] == "True"


def test_a_rolling_update_never_has_fewer_ready_pods_than_it_may() -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(4))
    finish(simulation)
    edit(simulation, {"template": {"spec": {"containers": [{"image": "two"}]}}})
    for _ in range(40):
        settle(simulation)
        assert sum(is_ready(one) for one in pods(simulation)) >= 3
        assert len(pods(simulation)) <= 5
        waiting = [one for one in pods(simulation) if not is_ready(one)]
        if waiting:
            simulation.make_ready(waiting[0])
    assert images(simulation) == ["two"] * 4
    assert revision_of(the_deployment(simulation)) == 2


def test_going_back_to_an_old_template_makes_it_the_newest_revision() -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(1))
    for image in ("two", "one"):
        finish(simulation)
        edit(simulation, {"template": {"spec": {"containers": [{"image": image}]}}})
    finish(simulation)
    assert revision_of(the_deployment(simulation)) == 3
    assert len(simulation.cluster.all(REPLICASETS)) == 2


def test_old_replicasets_are_kept_as_history_and_no_more() -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(1, revisionHistoryLimit=2))
    for number in range(6):
        finish(simulation)
        edit(simulation, {"template": {"spec": {"containers": [{"image": str(number)}]}}})
    finish(simulation)
    assert [wanted_replicas(one) for one in simulation.cluster.all(REPLICASETS)].count(0) == 2


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(1))
    finish(simulation)
    containers = [{"image": "two"}]
    edit(simulation, {"paused": True, "template": {"spec": {"containers": containers}}})
    finish(simulation)
    assert images(simulation) == ["one"]
    edit(simulation, {"paused": None})
    finish(simulation)
    assert images(simulation) == ["two"]


def test_a_matching_pod_without_owner_is_adopted() -> None:
    simulation = Simulation()
    simulation.add(DEPLOYMENTS, deployment(2))
    simulation.settle(lambda cluster: deployment_changes(cluster, NOW))
    (made,) = simulation.cluster.all(REPLICASETS)
    labels = made["spec"]["template"]["metadata"]["labels"]
    stray = {"metadata": {"name": "stray", "namespace": "default", "labels": labels}, "spec": {}}
    simulation.add(PODS, stray)
    simulation.settle(lambda cluster: replicaset_changes(cluster, NOW))
    assert len(pods(simulation)) == 2


def test_equal_templates_have_equal_hashes() -> None:
    assert template_hash({"a": 1, "b": 2}) == template_hash({"b": 2, "a": 1})
    assert template_hash({"a": 1}) != template_hash({"a": 2})
