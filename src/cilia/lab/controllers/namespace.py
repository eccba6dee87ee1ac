"""Namespaces: an end that takes all that is in them with it.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from cilia.lab.controllers.cluster import NAMESPACES, Change, Cluster, Empty, is_terminating


def namespace_changes(cluster: Cluster) -> list[Change]:
    """Empties the namespaces that are being deleted."""
    return [
        Empty(namespace["metadata"]["name"])
        for namespace in cluster.all(NAMESPACES)
        if is_terminating(namespace)
    ]
