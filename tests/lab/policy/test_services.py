"""Services under policy: judged where they lead to, named by rules, resolved by DNS.

Source: https://docs.cilium.io/en/stable/security/policy/language/#services-based
"""

from collections.abc import Iterator

import pytest

from lab.policy.case import cilium_policy, network_policy
from lab.policy.cluster import API, Cluster, documents_of
from lab.policy.truth import TCP, Expectation, allow, deny, flows
from lab.running_lab import wait_for

SERVICES = """
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: 'y', labels: {tier: front}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {pod: b}
  ports: [{name: http, port: 8080, targetPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: x}
spec:
  clusterIP: None
  ports: [{name: http, port: 81}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside-1, namespace: x, labels: {kubernetes.io/service-name: outside}}
addressType: IPv4
endpoints: [{addresses: [8.8.8.8], conditions: {ready: true}}]
ports: [{name: http, port: 81, protocol: TCP}]
"""
DNS = (
    "{toEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': kube-system, "
    "k8s-app: kube-dns}}], toPorts: [{ports: [{port: '53', protocol: ANY}]}]}"
)
TO_FRONT = "{toServices: [{k8sService: {serviceName: front, namespace: 'y'}}]}"
NAME = "front.y.svc.cluster.local"
COULD_NOT_RESOLVE, TIMED_OUT = 6, 28
"""curl's exit codes."""


def from_a(*entries: str) -> str:
    """Egress of x/a."""
    rules = ", ".join(entries)
    return cilium_policy(f"{{endpointSelector: {{matchLabels: {{pod: a}}}}, egress: [{rules}]}}")


@pytest.fixture(scope="module")
def services(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with services that every node knows."""
    documents = documents_of(SERVICES)
    for document in documents:
        cluster.create(document)
    try:
        wait_for("the service is answered by its pod", lambda: ask(cluster) == (0, "y/b"))
        yield cluster
    finally:
        for document in documents:
            cluster.delete(document)


def ask(cluster: Cluster, host: str = NAME, *, patience_s: int = 5) -> tuple[int, str]:
    """curl's exit code and what it got, from x/a."""
    words = ("curl", "-s", "--max-time", str(patience_s), f"http://{host}:8080/")
    done = cluster.running.kubectl("-n", "x", "exec", "a", "--", *words)
    return done.returncode, done.stdout


def address(cluster: Cluster) -> str:
    """The service's own IPv4 address."""
    return str(cluster.running.json("-n", "y", "get", "service", "front")["spec"]["clusterIP"])


def only(*expected: Expectation) -> tuple[Expectation, ...]:
    return (deny("x/a", "*"), *expected)


def test_closed_egress_closes_dns_and_services(services: Cluster) -> None:
    with services.policies(network_policy("{podSelector: {}, policyTypes: [Egress]}")):
        code, _ = ask(services, patience_s=1)
        assert code in (COULD_NOT_RESOLVE, TIMED_OUT)
        assert ask(services, address(services), patience_s=1)[0] == TIMED_OUT


def test_a_rule_to_a_service_opens_its_pods(services: Cluster) -> None:
    with services.policies(from_a(TO_FRONT, DNS)):
        assert ask(services) == (0, "y/b")
        services.check(*only(allow("x/a", "y/b")))


def test_ports_beside_a_service_are_those_of_its_pods(services: Cluster) -> None:
    rule = TO_FRONT.removesuffix("}") + ", toPorts: [{ports: [{port: '%s', protocol: TCP}]}]}"
    with services.policies(from_a(rule % 80)):
        assert ask(services, address(services)) == (0, "y/b")
        services.check(*only(allow("x/a", "y/b", port=80, protocol=TCP)))
    with services.policies(from_a(rule % 8080)):
        assert ask(services, address(services), patience_s=1)[0] == TIMED_OUT


def test_services_by_label(services: Cluster) -> None:
    rule = "{toServices: [{k8sServiceSelector: {selector: {matchLabels: {tier: front}}}}]}"
    with services.policies(from_a(rule)):
        services.check(*only(allow("x/a", "y/b")))


def test_a_service_without_selector_means_its_addresses(services: Cluster) -> None:
    rule = "{toServices: [{k8sService: {serviceName: outside, namespace: x}}]}"
    (slice_,) = (each for each in documents_of(SERVICES) if each["kind"] == "EndpointSlice")
    outward = flows(["x/a"], [f"world/{name}" for name in ("google", "cloudflare")], [81])
    with services.policies(from_a(rule)):
        services.check(*only(allow("x/a", "world/google", family=4)))
        services.replace(slice_ | {"endpoints": [{"addresses": ["1.1.1.1"]}]})
        opened = flows(["x/a"], ["world/cloudflare"], [81], families=[4])
        wait_for("the new address is open", lambda: services.passes(opened))
        services.check(*only(allow("x/a", "world/cloudflare", family=4)), asked=outward)


def test_a_rule_to_pods_opens_them_through_their_service(services: Cluster) -> None:
    spec = (
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], "
        "egress: [{to: [{namespaceSelector: {matchLabels: {team: y}}}], ports: [{port: %s}]}]}"
    )
    with services.policies(network_policy(spec % 80)):
        assert ask(services, address(services)) == (0, "y/b")
    with services.policies(network_policy(spec % 8080)):
        assert ask(services, address(services), patience_s=1)[0] == TIMED_OUT


def test_the_address_of_a_service_is_nobody(services: Cluster) -> None:
    with services.policies(from_a(f"{{toCIDR: [{address(services)}/32]}}")):
        assert ask(services, address(services), patience_s=1)[0] == TIMED_OUT


def test_the_api_server_is_an_entity(cluster: Cluster) -> None:
    with cluster.policies(from_a("{toEntities: [kube-apiserver]}")):
        cluster.check(*only(allow("x/a", API)))
    with cluster.policies(from_a("{toEndpoints: [{}]}")):
        cluster.check(*only(allow("x/a", "x/*")))
