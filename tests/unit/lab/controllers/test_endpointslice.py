from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.controllers.cluster import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Object
from cilia.lab.controllers.endpointslice import SLICE_SIZE, endpoint_changes

from .simulation import Simulation, pod, service

LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2)
PORTS = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 90}]


@st.composite
def pods(draw: st.DrawFn) -> Object:
    made = pod("", draw(LABELS), draw(st.sampled_from(["default", "other"])))
    if draw(st.booleans()):
        number = draw(st.sampled_from([8080, 8081]))
        made["spec"]["containers"] = [{"ports": [{"name": "http", "containerPort": number}]}]
    made["spec"]["nodeName"] = "node-1"
    made["status"] = {
        "phase": draw(st.sampled_from(["Running", "Succeeded", "Pending"])),
        "conditions": [{"type": "Ready", "status": draw(st.sampled_from(["True", "False"]))}],
    }
    if draw(st.booleans()):
        made["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    return made


def published(simulation: Simulation) -> set[tuple[Any, ...]]:
    """What the slices say: service, address, port name, port, ready, serving, terminating."""
    return {
        (
            one["metadata"]["labels"]["kubernetes.io/service-name"],
            endpoint["addresses"][0],
            port["name"],
            port["port"],
            *(endpoint["conditions"][name] for name in ("ready", "serving", "terminating")),
        )
        for one in simulation.cluster.all(ENDPOINT_SLICES)
        for endpoint in one["endpoints"]
        for port in one["ports"]
    }


def expected(simulation: Simulation) -> set[tuple[Any, ...]]:
    """The same, said naively."""
    found = set()
    for wanted in simulation.cluster.all(SERVICES):
        for one in simulation.cluster.all(PODS, "default"):
            spec, status = wanted["spec"], one["status"]
            labels = one["metadata"]["labels"]
            if any(labels.get(key) != value for key, value in spec["selector"].items()):
                continue
            if status["phase"] == "Succeeded":
                continue
            ready = status["conditions"][0]["status"] == "True"
            leaving = "deletionTimestamp" in one["metadata"]
            publish = spec.get("publishNotReadyAddresses", False)
            numbers = [("admin", 90)]
            for container in one["spec"]["containers"]:
                numbers += [("web", port["containerPort"]) for port in container["ports"]]
            for family, entry in zip(("IPv4", "IPv6"), status.get("podIPs", []), strict=False):
                if family in spec["ipFamilies"]:
                    state = (publish or (ready and not leaving), publish or ready, leaving)
                    name = wanted["metadata"]["name"]
                    found |= {(name, entry["ip"], *number, *state) for number in numbers}
    return found


@given(
    st.lists(pods(), max_size=6),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), min_size=1, max_size=2),
    st.sampled_from([["IPv4"], ["IPv6"], ["IPv4", "IPv6"]]),
    st.booleans(),
)
def test_slices_say_what_pods_and_services_say(
    members: list[Object], selector: dict[str, str], families: list[str], publish: bool
) -> None:
    simulation = Simulation()
    for number, member in enumerate(members, 1):
        member["metadata"]["name"] = f"pod-{number}"
        member["status"]["podIPs"] = [{"ip": f"10.0.1.{number}"}, {"ip": f"fd00::{number:x}"}]
        simulation.add(PODS, member)
    spec = {"ports": PORTS, "ipFamilies": families, "publishNotReadyAddresses": publish}
    made = simulation.add(SERVICES, service("web", selector, **spec))
    simulation.settle(endpoint_changes)
    assert published(simulation) == expected(simulation)
    for member in simulation.cluster.all(PODS):
        simulation.remove(PODS, member)
    simulation.settle(endpoint_changes)
    assert published(simulation) == set()
    simulation.remove(SERVICES, made)
    simulation.settle(endpoint_changes)
    assert simulation.cluster.all(ENDPOINT_SLICES) == simulation.cluster.all(ENDPOINTS) == []


def test_a_service_without_selector_is_left_alone() -> None:
    simulation = Simulation()
    simulation.add(SERVICES, service("own", {}, ports=PORTS, ipFamilies=["IPv4"]))
    metadata = {"name": "own", "namespace": "default"}
    simulation.add(ENDPOINTS, {"metadata": metadata, "subsets": []})
    assert endpoint_changes(simulation.cluster) == []


def test_a_large_service_has_several_slices() -> None:
    simulation = Simulation()
    for number in range(SLICE_SIZE + 1):
        member = simulation.add(PODS, pod(f"pod-{number:03d}", {"app": "web"}))
        simulation.make_ready(member)
    spec = {"ports": [{"port": 80}], "ipFamilies": ["IPv4"]}
    simulation.add(SERVICES, service("web", {"app": "web"}, **spec))
    simulation.settle(endpoint_changes)
    sizes = [len(one["endpoints"]) for one in simulation.cluster.all(ENDPOINT_SLICES)]
    assert sorted(sizes) == [1, SLICE_SIZE]


def test_endpoints_tell_ready_and_unready_apart() -> None:
    simulation = Simulation()
    for name, ready in (("up", True), ("down", False)):
        simulation.make_ready(simulation.add(PODS, pod(name, {"app": "web"})), ready)
    spec = {"ports": [{"port": 80}], "ipFamilies": ["IPv4", "IPv6"]}
    simulation.add(SERVICES, service("web", {"app": "web"}, **spec))
    simulation.settle(endpoint_changes)
    (found,) = simulation.cluster.all(ENDPOINTS)
    (subset,) = found["subsets"]
    assert [one["targetRef"]["name"] for one in subset["addresses"]] == ["up"]
    assert [one["targetRef"]["name"] for one in subset["notReadyAddresses"]] == ["down"]
