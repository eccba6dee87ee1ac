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
    hubble_export_file_path: str = ""
    """File that flows are written to as JSON lines, or `stdout`; empty: none."""
    hubble_export_file_max_size_mb: int = 10
    """MiB at which it is rotated; 0: never."""
    hubble_export_file_max_backups: int = 5
    """How many rotated files are kept; 0: all."""
    hubble_export_file_compress: bool = False
    """Compress them with gzip."""
    hubble_export_allowlist: str = ""
    """Flows that are written: flow.FlowFilter as JSON, split by spaces; empty: all."""
    hubble_export_denylist: str = ""
    """Flows that are not."""
    hubble_export_fieldmask: tuple[str, ...] = ()
    """Fields of flow.Flow that are written; empty: all."""
    hubble_export_fieldaggregate: tuple[str, ...] = ()
    """Count flows that agree in these fields instead of writing each."""
    hubble_export_aggregation_interval: str = ""
    """How often such counts are written, as `30s`."""
    hubble_flowlogs_config_path: str = ""
    """YAML file of more such logs, followed as it changes."""
    hubble_redact_enabled: bool = False
    """Hide parts of requests before they are kept, shown or written anywhere."""
    hubble_redact_http_urlquery: bool = False
    """... the query of URLs."""
    hubble_redact_http_userinfo: bool = True
    """... passwords in URLs."""
    hubble_redact_http_headers_allow: tuple[str, ...] = ()
    """... the values of all HTTP headers but these."""
    hubble_redact_http_headers_deny: tuple[str, ...] = ()
    """... the values of these HTTP headers alone; without either list: of all."""
    hubble_redact_kafka_apikey: bool = False
    """... keys of Kafka's clients."""
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
