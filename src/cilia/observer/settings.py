"""What the observer can be told."""

import msgspec


class ObserverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of `cilia observer`."""

    node_name: str = ""
    """Kubernetes name of this node."""
    cluster_name: str = "default"
    """Name of the cluster; flows name their node `<cluster>/<node>`."""
    hubble_capacity: int = 1_000_000
    """How many flows are kept in memory, about 110 bytes each once they are there."""
    hubble_listen_address: str = ""
    """Where the API is served on TCP: `ip:port`, or `:4244` for every address; empty: nowhere."""
    hubble_disable_tls: bool = False
    """Serve TCP without TLS: whoever reaches the port reads every flow."""
    hubble_tls_cert_file: str = ""
    """PEM certificate of that port; read again when it changes."""
    hubble_tls_key_file: str = ""
    """Its key."""
    hubble_tls_client_ca_files: tuple[str, ...] = ()
    """PEM authorities of the clients; with any, a client without a certificate is refused."""
    hubble_prefer_ipv6: bool = False
    """Name peers by their IPv6 address where they have both."""
    hubble_metrics_server: str = ""
    """`HOST:PORT` where Hubble's metrics are shown, as `:9965`; empty: metrics are off."""
    hubble_metrics: str = ""
    """What is counted, split by spaces, as `drop:sourceContext=pod;destinationContext=pod tcp`."""
    hubble_dynamic_metrics_config_path: str = ""
    """YAML file that is followed and takes the place of `hubble_metrics` once it can be used."""
    hubble_metrics_series: int = 2_000
    """How many series a metric may have; what is beyond is counted in one called other."""
    bpffs: str = "/sys/fs/bpf/cilia"
    """Folder on a bpf file system with the node's pins."""
    run_dir: str = "/run/cilia"
    """Folder with the agent's socket; the monitor and Hubble sockets are made there."""
    poll_interval_ms: int = 5
    """How often the rings are read while somebody listens, in milliseconds."""
    idle_interval_ms: int = 50
    """How often they are read while nobody does, in milliseconds."""
    harvest_interval_s: float = 5.0
    """How often the counters of connections are read, in seconds; no more than a tenth of a CPU is
    spent on it."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "text"
    """text or json."""
