"""The lab's observers and its relay: their settings, and certificates for both sides."""

from importlib import resources
from pathlib import Path
from typing import Any

from cilia.lab.apiserver.certificates import ensure_authority, ensure_peer
from cilia.lab.site import LabSite

CLUSTER = "default"
NODE_DOMAIN = f"{CLUSTER}.hubble-grpc.cilium.io"
RELAY_DOMAIN = "hubble-relay.cilium.io"
PORT = 4244
RELAY = "relay"
METRICS_PORT = 9965
METRICS = "hubble-metrics.yaml"
"""What observers count; beside this module, and in the lab's state folder to be edited."""


def certificates_folder(site: LabSite) -> Path:
    """Where the authority of observers and relay lies, and all that it has signed."""
    return site.state / "hubble"


def has_relay(site: LabSite) -> bool:
    """Whether there is more than one observer to ask."""
    return site.nodes > 1


def ensure_hubble_certificates(site: LabSite) -> None:
    """Makes what is missing: an authority, and a certificate for each node and the relay."""
    folder = certificates_folder(site)
    ensure_authority(folder)
    for node in site.node_names:
        ensure_peer(folder, node, (f"{node}.{NODE_DOMAIN}", f"hubble-peer.{NODE_DOMAIN}"))
    if has_relay(site):
        host = site.node_host(site.node_names[0])
        names = (f"ui.{RELAY_DOMAIN}", f"*.{RELAY_DOMAIN}", "localhost", str(host.v4), str(host.v6))
        ensure_peer(folder, RELAY, names)


def ensure_metrics_file(site: LabSite) -> None:
    """Writes what observers count; a file that is there is somebody's own."""
    path = site.state / METRICS
    if not path.exists():
        path.write_text(resources.files("cilia.lab").joinpath(METRICS).read_text())


def observer_config(site: LabSite, node: str) -> dict[str, Any]:
    """The observer's settings by name: it belongs to a room beside this one."""
    place, folder = site.node(node), certificates_folder(site)
    return {
        "node_name": node,
        "cluster_name": CLUSTER,
        "bpffs": place.bpffs,
        "run_dir": place.run,
        "hubble_flowlogs_config_path": place.run / "flowlogs.yaml",
        "hubble_listen_address": f":{PORT}",
        "hubble_tls_cert_file": folder / f"{node}.crt",
        "hubble_tls_key_file": folder / f"{node}.key",
        "hubble_tls_client_ca_files": [folder / "ca.crt"],
        "hubble_metrics_server": f":{METRICS_PORT}",
        "hubble_dynamic_metrics_config_path": site.state / METRICS,
    }


def relay_config(site: LabSite) -> dict[str, Any]:
    """The relay's settings by name; it runs on the first node."""
    folder = certificates_folder(site)
    certificate, key = folder / f"{RELAY}.crt", folder / f"{RELAY}.key"
    return {
        "node_name": site.node_names[0],
        "cluster_name": CLUSTER,
        "socket": site.relay_socket,
        "peer_service": f"unix://{site.node(site.node_names[0]).hubble_socket}",
        "retry_timeout": "2s",
        "tls_hubble_client_cert_file": certificate,
        "tls_hubble_client_key_file": key,
        "tls_hubble_server_ca_files": [folder / "ca.crt"],
        "tls_relay_server_cert_file": certificate,
        "tls_relay_server_key_file": key,
        "tls_relay_client_ca_files": [folder / "ca.crt"],
    }
