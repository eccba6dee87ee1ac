"""Namespaces: a default service account in each, and an end that takes all with it.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from cilia.lab.controllers.cluster import (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    Change,
    Cluster,
    Create,
    Empty,
    is_terminating,
)


def namespace_changes(cluster: Cluster) -> list[Change]:
    """Empties namespaces that are being deleted; gives the others a service account."""
    changes: list[Change] = []
    for namespace in cluster.all(NAMESPACES):
        name = namespace["metadata"]["name"]
        if is_terminating(namespace):
            changes.append(Empty(name))
        elif cluster.get(SERVICE_ACCOUNTS, name, "default") is None:
            account = {
                "apiVersion": SERVICE_ACCOUNTS.api_version,
                "kind": SERVICE_ACCOUNTS.kind,
                "metadata": {"name": "default", "namespace": name},
            }
            changes.append(Create(SERVICE_ACCOUNTS, account))
    return changes
