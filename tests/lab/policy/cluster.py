"""Three namespaces of three pods on two nodes, a world around them, and policy that is in force."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import yaml

from cilia.cli.client import AgentClient
from cilia.lab import commands
from cilia.lab.site import netns_path
from cilia.wire.kubernetes import ApiError, KubernetesClient
from lab.policy.sockets import PASSED, STOPPED, Place, Servers, probe
from lab.policy.truth import PING, TCP, Expectation, Flow, flows, truth
from lab.running_lab import RunningLab, wait_for

Json = dict[str, Any]

NAMESPACES, NAMES = ("x", "y", "z"), ("a", "b", "c")
PODS = tuple(f"{space}/{name}" for space in NAMESPACES for name in NAMES)
PROBED = ("x/a", "x/b", "y/a")
"""The pods that are asked to and from outside of the cluster's pods."""
ROLES = {"a": "database", "b": "frontend", "c": "batch"}
ACCOUNTS = {"a": "default", "b": "default", "c": "runner"}
POD_PORTS, OUTER_PORTS = (80, 81), (81, 82)
WEB = {"a": 80, "b": 81, "c": 80}
"""The port that each pod calls `web`: not the same one everywhere."""
WORLD = {
    "world/cloudflare": ("1.1.1.1", "2606:4700:4700::1111"),
    "world/sibling": ("1.0.0.1", "2606:4700:4700::1001"),
    "world/google": ("8.8.8.8", "2001:4860:4860::8888"),
}
API, API_PORT = "api/server", 6443
API_ADDRESSES = ("172.30.0.2", "fd00:30::2")
PATHS = {
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "CiliumNetworkPolicy": "/apis/cilium.io/v2/namespaces/{namespace}/ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "CiliumCIDRGroup": "/apis/cilium.io/v2/ciliumcidrgroups",
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
}


class Cluster:
    """A lab that runs, its pods, and sockets in all of them."""

    def __init__(self, running: RunningLab) -> None:
        self.running = running
        self.site = commands.open_site(running.name)
        self.agents = {n: AgentClient(self.site.node(n).agent_socket) for n in self.site.node_names}
        self.places: dict[str, Place] = {}
        nodes = self.site.node_names
        self.node_of = {pod: nodes[i % len(nodes)] for i, pod in enumerate(PODS)}
        """A pod's own node always reaches it, whatever policy says."""
        self.everything = _everything(nodes)
        self._servers = Servers()
        self._runner = asyncio.Runner()

    def __enter__(self) -> "Cluster":
        self._client = self._runner.run(self._connect())
        for document in (*_namespaces(), *_pods(self.node_of)):
            self.create(document)
        wait_for("every node knows every pod", self.knows_all_pods)
        self._find_places()
        self._route_the_world_to_pods()
        for place in filter(lambda place: place.answers, self.places.values()):
            self._servers.listen(place, self.ports(place.name))
        self._servers.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.places:
            self._servers.stop()
        self._runner.run(self._client.__aexit__(None, None, None))
        self._runner.close()

    async def _connect(self) -> KubernetesClient:
        return await KubernetesClient.from_kubeconfig(self.site.kubeconfig).__aenter__()

    # What is reachable

    def ports(self, place: str) -> tuple[int, int]:
        """The ports that a place answers on."""
        return POD_PORTS if place in PODS else OUTER_PORTS

    def check(self, *expectations: Expectation, asked: Iterable[Flow] | None = None) -> None:
        """Probes, and fails with what is not as expected.

        Args:
            expectations: The later overrule the earlier; what none is about passes.
            asked: Each pod to each, and some of them to and from nodes and world, as default.
        """
        self.check_exactly(truth(asked or self.everything, expectations))

    def check_exactly(self, expected: Mapping[Flow, bool]) -> None:
        """Probes each flow, and fails with what is not as expected."""
        always = {(f"host/{node}", pod) for pod, node in self.node_of.items()}
        expected = {f: ok or (f.source, f.target) in always for f, ok in expected.items()}
        outcomes = probe(self.places, expected)
        wrong = [
            f"{flow} {outcome}"
            for flow, outcome in sorted(outcomes.items())
            if outcome != (PASSED if expected[flow] else STOPPED)
        ]
        shown = "\n".join(wrong[:24])
        assert not wrong, f"{len(wrong)} of {len(expected)} flows are not as expected:\n{shown}"

    def passes(self, asked: Iterable[Flow]) -> bool:
        """True if all of these flows pass now."""
        outcomes = probe(self.places, dict.fromkeys(asked, False))
        return set(outcomes.values()) == {PASSED}

    # Objects

    def create(self, document: Json) -> Json:
        """Creates an object."""
        return self._run(self._client.create(_path(document), document))

    def read(self, document: Json) -> Json:
        """An object as it is now."""
        return self._run(self._client.get(f"{_path(document)}/{document['metadata']['name']}"))

    def replace(self, document: Json) -> Json:
        """Puts another state of an object in its place."""
        path = f"{_path(document)}/{document['metadata']['name']}"
        return self._run(self._client.replace(path, document))

    def delete(self, document: Json) -> None:
        """Deletes an object, which may be gone."""
        path = f"{_path(document)}/{document['metadata']['name']}"
        try:
            self._run(self._client.delete(path))
        except ApiError as error:
            if not error.is_missing:
                raise

    def label(self, kind: str, name: str, labels: Mapping[str, str | None]) -> None:
        """Sets and, by None, removes labels of a pod (`x/a`) or a namespace (`x`)."""
        namespace, _, bare = name.rpartition("/")
        path = f"{PATHS[kind].format(namespace=namespace)}/{bare}"
        self._run(self._client.patch(path, {"metadata": {"labels": labels}}))

    @contextlib.contextmanager
    def policies(self, text: str) -> Iterator[None]:
        """Policies, in force in the block and gone after it."""
        documents = documents_of(text)
        try:
            made = [self.create(document) for document in documents]
            self.wait_in_force(made)
            yield
        finally:
            for document in documents:
                self.delete(document)
            self.wait_gone(documents)

    def wait_in_force(self, documents: Iterable[Json]) -> None:
        """Waits until every node enforces these objects as they are now."""
        rules = [each for each in documents if each["kind"].endswith("Policy")]
        wanted = {_key(each): each["metadata"]["generation"] for each in rules}
        for node, agent in self.agents.items():
            what = f"{node} enforces {', '.join('/'.join(key) for key in wanted)}"
            wait_for(what, partial(_enforces, agent, wanted))

    def wait_gone(self, documents: Iterable[Json]) -> None:
        """Waits until no node knows these policies any more."""
        keys = {_key(each) for each in documents}
        for node, agent in self.agents.items():
            wait_for(f"{node} forgets {keys}", partial(_forgot, agent, keys))

    def wait_labelled(self, pods: Iterable[str], label: str) -> None:
        """Waits until every node knows these pods under an identity with a label."""

        def is_so() -> bool:
            found = self._endpoints()
            return self.knows_all_pods() and all(
                pod in found and label in found[pod]["status"]["identity"]["labels"] for pod in pods
            )

        wait_for(f"{label} on {', '.join(pods)}", is_so)

    # The agents

    def knows_all_pods(self) -> bool:
        """True if every node's kernel knows each pod by its identity, and policy is in step."""
        identities: dict[str, int] = {}
        ready = self._endpoints()
        if len(ready) < len(PODS):
            return False
        for endpoint in ready.values():
            (addresses,) = endpoint["status"]["networking"]["addressing"]
            number = (endpoint["status"]["identity"] or {}).get("id", 0)
            identities |= {addresses["ipv4"] + "/32": number, addresses["ipv6"] + "/128": number}
        for agent in self.agents.values():
            rows = {row["prefix"]: row for row in agent.get("/v1/bpf/ipcache")}
            known = {p: rows[p]["identity"] if p in rows else 0 for p in identities}
            if known != identities or not _in_step(agent.get("/v1/endpoint")):
                return False
        return True

    def _endpoints(self) -> dict[str, Json]:
        """The endpoints of our pods that have an identity, whatever the node."""
        found = {}
        for agent in self.agents.values():
            for entry in agent.get("/v1/endpoint"):
                name = entry["status"]["external-identifiers"]["pod-name"]
                if name in PODS and entry["status"]["state"] == "ready":
                    found[name] = entry
        return found

    # The places

    def _find_places(self) -> None:
        for node in self.site.node_names:
            for path in (self.site.node(node).state / "endpoints").glob("*.json"):
                one = json.loads(path.read_bytes())
                name = f"{one['namespace']}/{one['pod']}"
                if name in PODS:
                    self.places[name] = Place(name, one["netns"], one["v4"], one["v6"])
            host, inside = self.site.node_host(node), self.site.node_namespace(node)
            addresses = str(host.v4), str(host.v6)
            self.places[f"host/{node}"] = Place(f"host/{node}", _netns(inside), *addresses)
        world = _netns(self.site.world_namespace)
        self.places |= {name: Place(name, world, *pair) for name, pair in WORLD.items()}
        net = _netns(self.site.net_namespace)
        self.places[API] = Place(API, net, *API_ADDRESSES, answers=False)

    def _route_the_world_to_pods(self) -> None:
        """Lets the world ask pods, as behind a router that knows their networks."""
        for node, agent in self.agents.items():
            host = self.site.node_host(node)
            told = next(
                each["primary-address"]
                for each in agent.get("/v1/cluster/nodes")["nodes-added"]
                if each["name"].endswith(f"/{node}")
            )
            for family, via in (("ipv4", host.v4), ("ipv6", host.v6)):
                words = ["route", "replace", told[family]["alloc-range"], "via", str(via)]
                command = ["ip", f"-{family[3]}", "-n", self.site.world_namespace, *words]
                subprocess.run(command, check=True)

    def _run(self, work: Coroutine[Any, Any, Json]) -> Json:
        return self._runner.run(work)


def documents_of(text: str) -> list[Json]:
    """The objects of a YAML text."""
    return [each for each in yaml.safe_load_all(text) if each]


def _enforces(agent: AgentClient, wanted: Mapping[tuple[str, str, str], int]) -> bool:
    rows = {_status_key(row): row for row in agent.get("/v1/policy/status")}
    endpoints = {each["id"]: each for each in agent.get("/v1/endpoint")}
    for key, generation in wanted.items():
        row = rows.get(key)
        if row is None or row["generation"] != generation:
            return False
        assert row["valid"], row["error"]
        ids = [number for number in row["endpoints"] if number in endpoints]
        if any(_realized(endpoints[number]) < row["revision"] for number in ids):
            return False
    return True


def _forgot(agent: AgentClient, keys: set[tuple[str, str, str]]) -> bool:
    rows = {_status_key(row) for row in agent.get("/v1/policy/status")}
    return not rows & keys and _in_step(agent.get("/v1/endpoint"))


def _in_step(endpoints: list[Json]) -> bool:
    return all(
        each["status"]["policy"]["spec"]["policy-revision"] <= _realized(each) for each in endpoints
    )


def _realized(endpoint: Json) -> int:
    return int(endpoint["status"]["policy"]["realized"]["policy-revision"])


def _status_key(row: Json) -> tuple[str, str, str]:
    return row["kind"], row["namespace"], row["name"]


def _key(document: Json) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def _path(document: Json) -> str:
    return PATHS[document["kind"]].format(namespace=document["metadata"].get("namespace"))


def _netns(namespace: str) -> str:
    return str(netns_path(namespace))


def _namespaces() -> Iterable[Json]:
    for space in NAMESPACES:
        metadata = {"name": space, "labels": {"team": space}}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        metadata = {"name": "runner", "namespace": space}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _everything(nodes: Iterable[str]) -> list[Flow]:
    outside = (*WORLD, *(f"host/{node}" for node in nodes))
    return [
        *flows(PODS, PODS, POD_PORTS),
        *flows(PROBED, outside, OUTER_PORTS),
        *flows(outside, PROBED, POD_PORTS),
        *flows(PROBED, [API], [API_PORT], (TCP,), (4,)),
        *flows(PODS, PODS, (0,), (PING,)),
        *flows(PROBED, outside, (0,), (PING,)),
        *flows(outside, PROBED, (0,), (PING,)),
    ]


def _pods(node_of: Mapping[str, str]) -> Iterable[Json]:
    for pod, node in node_of.items():
        space, name = pod.split("/")
        ports = [
            {
                "name": f"serve-{port}-{protocol.lower()}",
                "containerPort": port,
                "protocol": protocol,
            }
            for port in POD_PORTS
            for protocol in ("TCP", "UDP")
        ]
        ports.append({"name": "web", "containerPort": WEB[name], "protocol": "TCP"})
        container = {"name": "main", "image": "curlimages/curl", "ports": ports}
        labels = {"pod": name, "role": ROLES[name]}
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": space, "labels": labels},
            "spec": {
                "nodeName": node,
                "serviceAccountName": ACCOUNTS[name],
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
            },
        }
