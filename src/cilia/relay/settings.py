"""What the relay can be told; names and defaults are those of Cilium's `hubble-relay serve`."""

import re

import msgspec

from cilia.hubble.tls import TlsFiles
from cilia.model.errors import InvalidValue

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0}


class RelaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of `cilia relay serve`."""

    listen_address: str = ":4245"
    """Where clients come on TCP: `ip:port`, or `:port` for every address; empty: nowhere."""
    socket: str = ""
    """Unix socket for clients of this machine, beside the port; empty: none."""
    health_listen_address: str = ":4222"
    """Where health is told without TLS; empty: nowhere."""
    peer_service: str = "unix:///run/cilia/hubble.sock"
    """The observer that names all nodes: `unix:///path` or `host:port`."""
    cluster_name: str = "default"
    """Name of the cluster; it is part of the peer service's name in its certificate."""
    node_name: str = ""
    """Where the relay runs, on what it says itself."""
    disable_client_tls: bool = False
    """Call nodes without TLS."""
    disable_server_tls: bool = False
    """Serve TCP without TLS: whoever reaches the port reads every flow of the cluster."""
    tls_hubble_client_cert_file: str = ""
    """PEM certificate that nodes are shown; read again for every connection."""
    tls_hubble_client_key_file: str = ""
    """Its key."""
    tls_hubble_server_ca_files: tuple[str, ...] = ()
    """PEM authorities of the nodes' certificates."""
    tls_relay_server_cert_file: str = ""
    """PEM certificate of our port; read again when it changes."""
    tls_relay_server_key_file: str = ""
    """Its key."""
    tls_relay_client_ca_files: tuple[str, ...] = ()
    """PEM authorities of our clients; with any, a client without a certificate is refused."""
    retry_timeout: str = "30s"
    """How long at most until a node, or the peer service, is called again."""
    sort_buffer_len_max: int = 100
    """How many flows of one node wait to be put in order."""
    sort_buffer_drain_timeout: str = "1s"
    """How long one flow waits for older ones of other nodes."""
    error_aggregation_window: str = "10s"
    """How long equal errors of several nodes are gathered into one."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "text"
    """text or json."""

    def __post_init__(self) -> None:
        for name in ("retry_timeout", "sort_buffer_drain_timeout", "error_aggregation_window"):
            duration_s(name, getattr(self, name))
        if self.sort_buffer_len_max < 1:
            raise ValueError(f"sort-buffer-len-max {self.sort_buffer_len_max}: at least 1")

    def server_tls(self) -> TlsFiles | None:
        """The certificates of our port; None: it speaks no TLS."""
        if self.disable_server_tls:
            return None
        return TlsFiles(
            self.tls_relay_server_cert_file,
            self.tls_relay_server_key_file,
            self.tls_relay_client_ca_files,
        )

    def client_tls(self) -> TlsFiles | None:
        """The certificates with which nodes are called; None: without TLS."""
        if self.disable_client_tls:
            return None
        return TlsFiles(
            self.tls_hubble_client_cert_file,
            self.tls_hubble_client_key_file,
            self.tls_hubble_server_ca_files,
        )


def duration_s(name: str, text: str) -> float:
    """A duration as `500ms`, `1s` or `2m`, in seconds.

    >>> duration_s("retry_timeout", "500ms")
    0.5

    Raises:
        InvalidValue: It is none.
    """
    found = _DURATION.fullmatch(text)
    if not found:
        raise InvalidValue(f"{name.replace('_', '-')} {text!r}: write 500ms, 1s or 2m")
    return float(found[1]) * _UNIT_S[found[2]]
