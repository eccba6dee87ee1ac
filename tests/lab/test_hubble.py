"""The Star Wars walk as Hubble's API tells it: who, to whom, and why it was allowed or not."""

import asyncio
import time
from pathlib import Path

import grpc

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import TIMED_OUT, land

PRE = flow_pb2.SOCK_XLATE_POINT_PRE_DIRECTION_FWD
POST = flow_pb2.SOCK_XLATE_POINT_POST_DIRECTION_FWD


def flows(lab: RunningLab, **wanted: object) -> list[flow_pb2.Flow]:
    """The stored flows of the first node that match one filter."""
    path = Path(f"/run/cilia/lab/{lab.name}/nodes/node-1/hubble.sock")
    only = flow_pb2.FlowFilter(**wanted)  # type: ignore[arg-type]  # fields by name

    async def ask() -> list[flow_pb2.Flow]:
        async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
            request = observer_pb2.GetFlowsRequest(whitelist=[only])
            call = ObserverStub(channel).GetFlows(request, timeout=30)
            return [one.flow async for one in call if one.HasField("flow")]

    return asyncio.run(ask())


def test_hubble_tells_who_landed_and_why_the_other_did_not(enforced: RunningLab) -> None:
    lab, begun = enforced, time.time_ns()
    assert land(lab, "tiefighter").stdout.strip() == "Ship landed"
    assert land(lab, "xwing", patience_s=2).returncode == TIMED_OUT

    def fresh(**wanted: object) -> list[flow_pb2.Flow]:
        """Others have used this lab before."""
        return [flow for flow in flows(lab, **wanted) if flow.time.ToNanoseconds() >= begun]

    def dropped() -> list[flow_pb2.Flow]:
        return fresh(source_pod=["default/xwing"], verdict=[flow_pb2.DROPPED])

    wait_for("the drop is seen", lambda: any(flow.event_type.type == 1 for flow in dropped()))
    drop = next(flow for flow in dropped() if flow.event_type.type == 1)
    assert drop.drop_reason_desc == flow_pb2.POLICY_DENIED
    assert drop.destination.pod_name.startswith("deathstar-")
    assert drop.traffic_direction == flow_pb2.INGRESS
    assert drop.l4.TCP.destination_port == 80
    assert drop.Summary == "TCP Flags: SYN"
    assert {(by.namespace, by.name) for by in drop.ingress_denied_by} == {("default", "rule1")}

    allowed = fresh(
        source_pod=["default/tiefighter"],
        destination_label=["org=empire,class=deathstar"],
        event_type=[flow_pb2.EventTypeFilter(type=5)],
    )
    assert allowed
    by = {policy.name for flow in allowed for policy in flow.ingress_allowed_by}
    assert by == {"rule1"}
    assert {flow.verdict for flow in allowed} == {flow_pb2.FORWARDED}


def test_status_says_that_hubble_serves(lab: RunningLab) -> None:
    lines = lab.cilia("status").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("Hubble:")]
    assert line.split()[1] == "Ok"


SCOUT = ("--image=quay.io/cilium/json-mock", "--labels=org=empire,class=scout")


def test_a_pod_that_is_gone_keeps_its_name_and_started_without_a_drop(lab: RunningLab) -> None:
    made = lab.kubectl("run", "scout", *SCOUT)
    assert made.returncode == 0, made.stderr
    try:
        ready = lab.kubectl("wait", "--for=condition=Ready", "pod/scout", "--timeout=60s")
        assert ready.returncode == 0, ready.stderr
        assert land(lab, "scout").stdout.strip() == "Ship landed"
    finally:
        gone = lab.kubectl("delete", "pod", "scout", "--ignore-not-found", "--wait")
    assert gone.returncode == 0, gone.stderr
    wait_for("its endpoint is gone", lambda: "default/scout" not in lab.endpoints())

    seen = flows(lab, source_pod=["default/scout"], destination_service=["default/deathstar"])
    asked = next(flow for flow in seen if flow.sock_xlate_point == PRE)
    given = next(flow for flow in seen if flow.sock_xlate_point == POST)
    sent = next(flow for flow in seen if flow.l4.TCP.flags.SYN)
    assert (asked.verdict, given.verdict) == (flow_pb2.TRACED, flow_pb2.TRANSLATED)
    assert asked.IP.destination != given.IP.destination == sent.IP.destination
    for flow in (given, sent):
        assert flow.source.workloads == [flow_pb2.Workload(name="scout", kind="Pod")]
        assert flow.destination.workloads == [
            flow_pb2.Workload(name="deathstar", kind="Deployment")
        ]
        assert "kubernetes.io/os=linux" in flow.node_labels
    wrong = flows(lab, drop_reason_desc=[flow_pb2.FORBIDDEN_ICMPV6_MESSAGE])
    assert wrong == [], "what a starting pod announces is no drop"
