"""Fields about who sent and who received."""

from collections.abc import Callable, Sequence

import numpy as np

from cilia.hubble.filters.labels import parse_selector
from cilia.hubble.filters.terms import InvalidFilterError, Mask, PartyTest, Scene, Test
from cilia.hubble.parties import Party
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import Rows


def pod(side: str, values: Sequence[str], scene: Scene) -> Test:
    """`[namespace/]prefix` of a pod's name; without a slash in the namespace `default`."""
    wanted = [split_name(f"{side}_pod", value) for value in values]

    def passes(party: Party) -> bool:
        return bool(party.namespace or party.pod) and any(
            namespace in ("", party.namespace) and party.pod.startswith(prefix)
            for namespace, prefix in wanted
        )

    return PartyTest(scene, f"{side}_party", passes)


def split_name(field: str, value: str) -> tuple[str, str]:
    """Namespace (empty: any) and prefix of `[namespace/]prefix`; without a slash: `default`.

    Raises:
        InvalidFilterError: It is empty.
    """
    if not value:
        raise InvalidFilterError(f"{field} '': wants [namespace/]prefix")
    namespace, slash, prefix = value.partition("/")
    return (namespace, prefix) if slash else ("default", value)


def label(side: str, values: Sequence[str], scene: Scene) -> Test:
    """Selectors, of which one must match."""
    return PartyTest(scene, f"{side}_party", selecting(f"{side}_label", values))


def selecting(field: str, values: Sequence[str]) -> Callable[[Party], bool]:
    """Whether a party's labels meet one of the selectors."""
    selectors = [parse_selector(field, value) for value in values]
    return lambda party: any(all(one.matches(party.labels) for one in s) for s in selectors)


def node_labels(values: Sequence[str], scene: Scene) -> Test:
    """Selectors on the labels of the node that saw the flow."""
    passes = selecting("node_labels", values)

    def test(rows: Rows) -> Mask:
        # Looked up each time: they are learned, and change, while a reader follows.
        labels = scene.node_labels or scene.store.node_labels
        return np.full(len(rows), passes(Party(0, 0, "", labels=labels)))

    return test


def workload(side: str, values: Sequence[flow_pb2.Workload], scene: Scene) -> Test:
    """Name, kind or both of what owns a pod."""

    def passes(party: Party) -> bool:
        return any(
            value.name in ("", name) and value.kind in ("", kind)
            for value in values
            for name, kind in party.workloads
        )

    return PartyTest(scene, f"{side}_party", passes)


def cluster(side: str, values: Sequence[str], scene: Scene) -> Test:
    """The name of one side's cluster."""
    checked_cluster(f"{side}_cluster_name", values)
    return PartyTest(scene, f"{side}_party", lambda party: party.cluster in values)


def checked_cluster(field: str, values: Sequence[str]) -> None:
    """Raises InvalidFilterError when a name of a cluster is empty."""
    if "" in values:
        raise InvalidFilterError(f"{field} '': wants a name")
