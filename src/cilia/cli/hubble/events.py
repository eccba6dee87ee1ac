"""Agent and debug events in words: (type, details)."""

from cilia.cli.hubble.times import time_text
from cilia.cli.hubble.wording import enum_name
from cilia.hubble.proto.flow.flow_pb2 import AgentEvent, AgentEventType, DebugEvent, DebugEventType


def agent_event(event: AgentEvent, layout: str) -> tuple[str, str]:
    """`POLICY_UPDATED` and `labels: [k8s:a=b], revision: 5, count: 1`."""
    kind = enum_name(AgentEventType.Name, event.type)
    match event.WhichOneof("notification"):
        case "agent_start":
            time = event.agent_start.time
            return kind, f"start time: {time_text(time.seconds, time.nanos, layout)}"
        case "policy_update":
            policy = event.policy_update
            return kind, (
                f"labels: [{','.join(policy.labels)}], revision: {policy.revision}, "
                f"count: {policy.rule_count}"
            )
        case "endpoint_regenerate":
            made = event.endpoint_regenerate
            text = f"id: {made.id}, labels: [{','.join(made.labels)}]"
            return kind, text + (f", error: {made.error}" if made.error else "")
        case "endpoint_update":
            pod = event.endpoint_update
            return kind, f"id: {pod.id}, namespace: {pod.namespace}, pod name: {pod.pod_name}"
        case "ipcache_update":
            return kind, _ipcache(event)
        case "service_upsert":
            row = event.service_upsert
            backends = ",".join(f"{one.ip}:{one.port}" for one in row.backend_addresses)
            front = f"{row.frontend_address.ip}:{row.frontend_address.port}"
            return kind, (
                f"id: {row.id}, frontend: {front}, backends: [{backends}], type: {row.type}, "
                f"namespace: {row.namespace}, name: {row.name}"
            )
        case "service_delete":
            return kind, f"id: {event.service_delete.id}"
    return kind, f"{event.unknown.type}: {event.unknown.notification}".strip(": ")


def _ipcache(event: AgentEvent) -> str:
    row = event.ipcache_update
    parts = [f"cidr: {row.cidr}", f"identity: {row.identity}"]
    if row.HasField("old_identity"):
        parts.append(f"old identity: {row.old_identity.value}")
    if row.host_ip:
        parts.append(f"host ip: {row.host_ip}")
    if row.old_host_ip:
        parts.append(f"old host ip: {row.old_host_ip}")
    return ", ".join([*parts, f"encrypt key: {row.encrypt_key}"])


def debug_event(event: DebugEvent) -> tuple[str, str, str, str]:
    """(from, type, mark and CPU, message)."""
    pod = f"{event.source.namespace}/{event.source.pod_name}".strip("/")
    number = f"ID: {event.source.ID}"
    mark = f"{event.hash.value:#x}" if event.HasField("hash") else "N/A"
    cpu = f"{event.cpu.value:02}" if event.HasField("cpu") else "N/A"
    kind = enum_name(DebugEventType.Name, event.type)
    return (f"{pod} ({number})" if pod else number), kind, f"MARK: {mark} CPU: {cpu}", event.message
