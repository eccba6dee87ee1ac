"""What a kubelet is told when it starts: one JSON file."""

from pathlib import Path
from typing import Any

import msgspec

from cilia.model.site import NodeSite


class KubeletConfig(msgspec.Struct, frozen=True):
    """One node's kubelet."""

    site: NodeSite
    kubeconfig: Path
    addresses: tuple[str, ...]
    """The node's own addresses, the preferred family first."""
    cni_configs: Path = Path("/etc/cni/net.d")
    """Folder whose first `*.conflist` is the node's network."""
    cni_plugins: tuple[Path, ...] = (Path("/opt/cni/bin"),)
    """Folders with the plugins' executables."""
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    node_dns: tuple[str, ...] = ("1.1.1.1", "2606:4700:4700::1111")
    """Name servers for pods that ask for the node's own (dnsPolicy Default)."""
    pod_cidrs: tuple[str, ...] = ()
    """Written to the Node's spec when it registers; empty: a controller does that."""
    netns_prefix: str = "cni-"
    """What the names of pods' network namespaces begin with."""
    labels: dict[str, str] = {}
    max_pods: int = 250
    backoff_s: float = 10.0
    """First pause before a crashed container or an unknown image is tried again."""
    max_backoff_s: float = 300.0
    sandbox_backoff_s: float = 0.25
    """First pause before a sandbox is tried again."""

    @property
    def socket(self) -> Path:
        """Unix socket on which logs and exec are served."""
        return self.site.run / "kubelet.sock"


def _decode(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind)


def read_config(path: Path) -> KubeletConfig:
    """The configuration in a file.

    Raises:
        ValueError: It is no such configuration; the message names file and field.
        OSError: The file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=KubeletConfig, dec_hook=_decode)
    except msgspec.DecodeError as error:
        raise ValueError(f"kubelet configuration {path}: {error}") from error


def encode_config(config: KubeletConfig) -> bytes:
    """The configuration as `read_config` takes it."""
    return msgspec.json.encode(config, enc_hook=str)
