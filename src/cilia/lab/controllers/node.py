"""Nodes: a share of the cluster's pod network for each.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/
"""

from ipaddress import ip_network

from cilia.lab.controllers.cluster import NODES, Change, Cluster, Object, is_terminating, patch_of

LAST_SHARE = 255


def node_changes(cluster: Cluster) -> list[Change]:
    """Gives each node without pod networks the next free pair, v4 and v6."""
    nodes = cluster.all(NODES)
    taken = {share for node in nodes if (share := share_of(node)) is not None}
    changes: list[Change] = []
    for node in nodes:
        if (node.get("spec") or {}).get("podCIDRs") or is_terminating(node):
            continue
        share = next((one for one in range(1, LAST_SHARE + 1) if one not in taken), None)
        if share is None:
            continue
        taken.add(share)
        pair = pod_networks(share)
        changes.append(patch_of(NODES, node, {"spec": {"podCIDR": pair[0], "podCIDRs": pair}}))
    return changes


def pod_networks(share: int) -> list[str]:
    """The pod networks of share `share` (1 to 255), v4 then v6.

    >>> pod_networks(1)
    ['10.0.1.0/24', 'fd00:10:0:1::/64']
    """
    return [f"10.0.{share}.0/24", str(ip_network(f"fd00:10:0:{share:x}::/64"))]


def share_of(node: Object) -> int | None:
    """Which share a node holds; None: no share of ours."""
    networks = (node.get("spec") or {}).get("podCIDRs") or []
    shares = (one for one in range(LAST_SHARE + 1) if pod_networks(one)[0] in networks)
    return next(shares, None)
