"""Pod and namespace to the labels of the pod's identity."""

from cilia.model.label_filter import LabelFilter
from cilia.model.labels import LabelSet, pod_labels
from cilia.state.namespaces import Namespace
from cilia.state.pods import Pod


def identity_labels(pod: Pod, namespace: Namespace, *, cluster: str, keep: LabelFilter) -> LabelSet:
    """The label set that decides the pod's identity."""
    every = pod_labels(
        namespace=pod.namespace,
        labels=dict(pod.labels),
        namespace_labels=dict(namespace.labels),
        service_account=pod.service_account,
        cluster=cluster,
    )
    return keep.apply(every)
