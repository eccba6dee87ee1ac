"""Identities of other nodes, from the labels of their Node objects.

Source: https://docs.cilium.io/en/stable/security/policy/language/#node-based
"""

from collections.abc import Collection, Iterable
from typing import Protocol

from cilia.model.labels import LabelSet, label_set, node_labels
from cilia.state.nodes import Node


class Numbers(Protocol):
    """Gives label sets numbers that hold on this node."""

    def hold(self, labels: LabelSet) -> int: ...
    def release(self, labels: LabelSet) -> None: ...


class NodeIdentities:
    """One identity for all nodes that carry the same, in all their addresses.

    Args:
        numbers: Where numbers come from.
        cluster: This cluster's name, which is a label of every node.
    """

    def __init__(self, numbers: Numbers, cluster: str) -> None:
        self._numbers = numbers
        self._cluster = cluster
        self._held: dict[str, tuple[LabelSet, int]] = {}
        self._left: list[LabelSet] = []

    def place(self, nodes: Iterable[Node], api_addresses: Collection[str]) -> dict[str, int]:
        """Returns the identity of each node, by its name.

        Those that are not needed any more are kept until `let_go`, for the ipcache still
        leads to them.

        Args:
            nodes: All nodes but our own, which is the host.
            api_addresses: Where API servers listen; a node with one of them is one.
        """
        now = {node.name: self._labels_of(node, api_addresses) for node in nodes}
        held = self._held
        self._held = {}
        for name, labels in now.items():
            before = held.pop(name, None)
            if before is not None and before[0] == labels:
                self._held[name] = before
                continue
            self._held[name] = (labels, self._numbers.hold(labels))
            self._left += [before[0]] if before is not None else []
        self._left += [labels for labels, _ in held.values()]
        return {name: number for name, (_, number) in self._held.items()}

    def let_go(self) -> None:
        """Gives back what no node has any more."""
        left, self._left = self._left, []
        for labels in left:
            self._numbers.release(labels)

    def _labels_of(self, node: Node, api_addresses: Collection[str]) -> LabelSet:
        labels = node_labels(dict(node.labels), self._cluster)
        if set(api_addresses) & set(node.addresses):
            return label_set([*labels, "reserved:kube-apiserver"])
        return labels
