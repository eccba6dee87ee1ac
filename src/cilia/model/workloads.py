"""Workloads: what a pod belongs to, in the words of those who wrote it.

A pod names its controller, which is often one that another made: a ReplicaSet of a
Deployment, a Job of a CronJob. Both are told by their names, so nobody is asked.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
and https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#job-creation.
"""

import re
from collections.abc import Mapping

import msgspec

from cilia.model.errors import InvalidValue

TEMPLATE_HASH = "pod-template-hash"
OF_CRON_JOB = re.compile(r"(?P<name>.+)-\d{8,10}")
"""A Job's name: its CronJob's, and the minutes (once: the seconds) since 1970."""


class Workload(msgspec.Struct, frozen=True):
    """A kind and a name, in the pod's namespace."""

    kind: str
    name: str

    def __str__(self) -> str:
        """`Deployment/deathstar`."""
        return f"{self.kind}/{self.name}"


def workload_of(pod: str, controller: Workload | None, labels: Mapping[str, str]) -> Workload:
    """Returns what a pod belongs to; a pod that nobody made is a workload itself.

    Args:
        pod: Its name.
        controller: The owner that says it controls the pod.
        labels: Of the pod.

    >>> workload_of("a-5d8-x", Workload("ReplicaSet", "a-5d8"), {"pod-template-hash": "5d8"})
    Workload(kind='Deployment', name='a')
    >>> str(workload_of("xwing", None, {}))
    'Pod/xwing'
    """
    if controller is None:
        return Workload("Pod", pod)
    name, template = controller.name, labels.get(TEMPLATE_HASH, "")
    if controller.kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return Workload("Deployment", name.removesuffix(f"-{template}"))
    if controller.kind == "Job" and (made := OF_CRON_JOB.fullmatch(name)):
        return Workload("CronJob", made["name"])
    return controller


def parse_workload(text: str) -> Workload:
    """Returns the workload that `str` of it reads as.

    Raises:
        InvalidValue: it is not of the form Kind/name.
    """
    kind, slash, name = text.partition("/")
    if not (kind and slash and name) or "/" in name:
        raise InvalidValue(f"workload {text!r}: write Kind/name")
    return Workload(kind, name)
