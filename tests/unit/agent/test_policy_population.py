"""Conflicts where CIDR rules match pods by address: whom they are compared for."""

from ipaddress import ip_network

from cilia.agent.policy_views import placed_peers
from cilia.model.labels import label_set, pod_labels
from cilia.model.prefixes import prefix_key
from cilia.policy.conflicts import find_conflicts
from cilia.policy.extents import Party, Population
from cilia.policy.sources import parse_policy
from cilia.state.ipcache import IpcacheRow


def pod(app: str) -> Party:
    labels = pod_labels(
        namespace="default",
        labels={"app": app},
        namespace_labels={},
        service_account="",
        cluster="default",
    )
    return Party(label_set(labels))


PEERS = {1001: pod("web"), 1002: pod("db")}
ROWS = [
    IpcacheRow(prefix_key(ip_network("10.0.1.1")), 1001, source="local"),
    IpcacheRow(prefix_key(ip_network("fd00::1")), 1001, source="local"),
    IpcacheRow(prefix_key(ip_network("172.30.0.11")), 1002, source="node"),
]
POLICY = parse_policy(
    {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "db"}},
            "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}],
            "ingressDeny": [{"fromCIDR": ["10.0.0.0/8", "fd00::/16"]}],
        },
    }
)


def kinds(modes: frozenset[str]) -> list[str]:
    population = Population([PEERS[1002]], [*placed_peers(PEERS, ROWS, modes)])
    return [str(one.kind) for one in find_conflicts([POLICY], population).found]


def test_each_address_is_a_peer_of_its_own_where_it_is_matched() -> None:
    found = [str(one.at) for one in placed_peers(PEERS, ROWS, frozenset(["pods"]))]
    assert found == ["10.0.1.1/32", "fd00::1/128", "None"]
    assert [one.at for one in placed_peers(PEERS, ROWS, frozenset())] == [None, None]


def test_a_deny_by_address_shadows_what_pods_are_allowed() -> None:
    assert kinds(frozenset(["pods"])) == ["shadowed"]
    assert kinds(frozenset(["nodes"])) == []
