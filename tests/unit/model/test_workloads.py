"""What a pod belongs to, by the names of what controls it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.model.errors import InvalidValue
from cilia.model.workloads import Workload, parse_workload, workload_of

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HASHES = st.text("bcdfghjklmnpqrstvwxz2456789", min_size=5, max_size=10)


@given(NAMES, HASHES)
def test_a_replica_set_stands_for_its_deployment(name: str, template: str) -> None:
    made = Workload("ReplicaSet", f"{name}-{template}")
    assert workload_of("pod", made, {"pod-template-hash": template}) == Workload("Deployment", name)
    assert workload_of("pod", made, {}) == made, "a ReplicaSet of its own"
    assert workload_of("pod", made, {"pod-template-hash": f"x{template}"}) == made


@given(NAMES, st.integers(10**7, 10**10 - 1))
def test_a_job_stands_for_its_cron_job(name: str, minute: int) -> None:
    assert workload_of("pod", Workload("Job", f"{name}-{minute}"), {}) == Workload("CronJob", name)
    assert workload_of("pod", Workload("Job", f"{name}-x"), {}) == Workload("Job", f"{name}-x")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job", "Rollout"])
def test_other_controllers_stand_for_themselves(kind: str) -> None:
    assert workload_of("web-0", Workload(kind, "web"), {}) == Workload(kind, "web")


@given(NAMES, NAMES)
def test_what_is_written_is_read(kind: str, name: str) -> None:
    assert parse_workload(str(Workload(kind, name))) == Workload(kind, name)


@pytest.mark.parametrize("text", ["", "web", "/web", "Deployment/", "a/b/c"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="Kind/name"):
        parse_workload(text)
