"""The part of a Kubernetes Pod that this kubelet acts on.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from typing import Any

import msgspec

Object = dict[str, Any]


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """A piece of a Kubernetes object: camelCase names, unknown fields ignored."""


class Metadata(Part, frozen=True, rename="camel"):
    """What names a pod."""

    name: str
    namespace: str
    uid: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class ExecAction(Part, frozen=True):
    """A command inside the container."""

    command: list[str] = []


class Header(Part, frozen=True):
    """One HTTP header."""

    name: str
    value: str


class HttpAction(Part, frozen=True, rename="camel"):
    """An HTTP request; 200 to 399 is success."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[Header] = []


class TcpAction(Part, frozen=True):
    """A TCP connection; opening it is success."""

    port: int | str
    host: str = ""


class Probe(Part, frozen=True, rename="camel"):
    """How to find out about a container; times in seconds."""

    exec: ExecAction | None = None
    http_get: HttpAction | None = None
    tcp_socket: TcpAction | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class KeyRef(Part, frozen=True):
    """One key of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool = False


class FieldRef(Part, frozen=True, rename="camel"):
    """A field of the pod itself."""

    field_path: str


class EnvSource(Part, frozen=True, rename="camel"):
    """Where a variable's value comes from."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None
    resource_field_ref: Object | None = None


class EnvVar(Part, frozen=True, rename="camel"):
    """One variable."""

    name: str
    value: str | None = None
    value_from: EnvSource | None = None


class NameRef(Part, frozen=True):
    """A ConfigMap or Secret by name."""

    name: str = ""
    optional: bool = False


class EnvFrom(Part, frozen=True, rename="camel"):
    """All keys of a ConfigMap or Secret as variables."""

    prefix: str = ""
    config_map_ref: NameRef | None = None
    secret_ref: NameRef | None = None


class VolumeMount(Part, frozen=True, rename="camel"):
    """Where a volume appears in a container."""

    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class Port(Part, frozen=True, rename="camel"):
    """A port that a container listens on."""

    container_port: int
    name: str = ""


class Security(Part, frozen=True, rename="camel"):
    """As whom to run."""

    run_as_user: int | None = None
    run_as_group: int | None = None


class Lifecycle(Part, frozen=True, rename="camel"):
    """What to do before a container is stopped."""

    pre_stop: Object | None = None


class Container(Part, frozen=True, rename="camel"):
    """One container of a pod."""

    name: str
    image: str
    command: list[str] = []
    args: list[str] = []
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    working_dir: str = ""
    ports: list[Port] = []
    volume_mounts: list[VolumeMount] = []
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    security_context: Security | None = None
    restart_policy: str | None = None
    """`Always` on an init container makes it a sidecar."""
    lifecycle: Lifecycle | None = None


class HostAlias(Part, frozen=True):
    """An extra line in /etc/hosts."""

    ip: str
    hostnames: list[str] = []


class DnsConfig(Part, frozen=True):
    """Additions to /etc/resolv.conf."""

    nameservers: list[str] = []
    searches: list[str] = []
    options: list[Object] = []


class PodSpec(Part, frozen=True, rename="camel"):
    """What the pod should be."""

    containers: list[Container]
    init_containers: list[Container] = []
    volumes: list[Object] = []
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    node_name: str = ""
    dns_policy: str = "ClusterFirst"
    dns_config: DnsConfig | None = None
    host_aliases: list[HostAlias] = []
    service_account_name: str = "default"
    enable_service_links: bool = True
    security_context: Security | None = None


class Pod(Part, frozen=True):
    """One pod as the API server has it."""

    metadata: Metadata
    spec: PodSpec
    status: Object = {}

    @property
    def name(self) -> str:
        """namespace/name, as people write it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def path(self) -> str:
        """Its path at the API server."""
        return f"/api/v1/namespaces/{self.metadata.namespace}/pods/{self.metadata.name}"


def parse_pod(obj: Object) -> Pod:
    """A pod from its JSON object; a null field is a field that is not there.

    Raises:
        ValueError: A field has the wrong type; the message names it.
    """
    try:
        return msgspec.convert(_without_nulls(obj), Pod)
    except msgspec.ValidationError as error:
        name = obj.get("metadata", {}).get("name")
        raise ValueError(f"pod {name}: {error}") from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
