"""Which programs a lab runs, where, and the configuration file of each."""

from pathlib import Path
from typing import Any

import msgspec

from cilia.lab.apiserver.certificates import (
    ensure_authority,
    ensure_certificates,
    ensure_server,
)
from cilia.lab.apiserver.config import ApiServerConfig, Listener
from cilia.lab.apiserver.kubeconfig import write_kubeconfig
from cilia.lab.child import Program
from cilia.lab.controllers.config import ControllersConfig
from cilia.lab.controllers.node import pod_networks
from cilia.lab.internet import NAMES, WORLD_ADDRESSES, WorldConfig
from cilia.lab.kubelet.config import KubeletConfig, encode_config
from cilia.lab.observing import (
    ensure_hubble_certificates,
    ensure_metrics_file,
    has_relay,
    observer_config,
    relay_config,
)
from cilia.lab.settings import LabSettings
from cilia.lab.site import API_PORT, API_SERVER, CLUSTER_DOMAIN, DNS_SERVICE, LabSite, netns_path
from cilia.lab.topology import DEVICE

POD_NETWORKS = ("10.0.0.0/16", "fd00:10::/48")
"""All pods of the cluster; each node has a share."""
METRICS_PORT = 9962
"""Each node has a network namespace, and so the port, of its own."""
API_SERVICES = ("10.96.0.1", "fd00:96::1")
"""Cluster addresses of service default/kubernetes."""
API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    "localhost",
)


def programs(site: LabSite) -> list[Program]:
    """The programs of a lab, in the order in which they start."""
    shared = [
        _program(site, "apiserver", ("lab", "apiserver"), None),
        _program(site, "controllers", ("lab", "controllers"), None),
        _program(site, "world", ("lab", "world"), site.world_namespace),
    ]
    for node in site.node_names:
        inside = site.node_namespace(node)
        shared += [
            _program(site, f"{node}/agent", ("agent",), inside, node),
            _program(site, f"{node}/kubelet", ("lab", "kubelet"), inside, node),
            _program(site, f"{node}/observer", ("observer",), inside, node),
        ]
    if has_relay(site):
        inside = site.node_namespace(site.node_names[0])
        shared.append(_program(site, "relay", ("relay", "serve"), inside))
    return shared


def _program(
    site: LabSite, name: str, words: tuple[str, ...], namespace: str | None, node: str = ""
) -> Program:
    base = site.node(node).cgroup if node else site.cgroup
    return Program(
        name=name,
        words=(*words, "--config", str(_config_path(site, name))),
        cgroup=base / "system",
        log=site.log / f"{name.replace('/', '-')}.log",
        netns=str(netns_path(namespace)) if namespace else None,
    )


def _config_path(site: LabSite, name: str) -> Path:
    return site.run / "config" / f"{name.replace('/', '-')}.json"


def prepare_files(site: LabSite, settings: LabSettings) -> None:
    """Writes certificates, kubeconfigs and every program's configuration.

    It may be repeated; certificates and keys that are there stay.
    """
    for folder in (site.state, site.run / "config"):
        folder.mkdir(parents=True, exist_ok=True)
    api = _apiserver_config(site, settings)
    ensure_certificates(
        api.certificates, (*API_NAMES, *(listener.host for listener in api.listeners))
    )
    cluster = f"cilia-{site.name}"
    inner = f"https://{API_SERVER.v4}:{API_PORT}"
    write_kubeconfig(site.inner_kubeconfig, inner, api.certificates, cluster=cluster)
    outer = f"https://127.0.0.1:{settings.api_port}"
    write_kubeconfig(site.kubeconfig, outer, api.certificates, cluster=cluster)
    _write(site, "apiserver", api)
    _write(site, "controllers", ControllersConfig(str(site.kubeconfig)))
    _write(site, "world", _world_config(site))
    ensure_hubble_certificates(site)
    ensure_metrics_file(site)
    for node in site.node_names:
        _prepare_node(site, node)
    if has_relay(site):
        _write(site, "relay", relay_config(site))


def _apiserver_config(site: LabSite, settings: LabSettings) -> ApiServerConfig:
    bridge = str(netns_path(site.net_namespace))
    return ApiServerConfig(
        state=site.state,
        listeners=(
            Listener("127.0.0.1", settings.api_port),
            Listener(str(API_SERVER.v4), API_PORT, bridge),
            Listener(str(API_SERVER.v6), API_PORT, bridge),
        ),
        names=API_NAMES,
        kubelets=site.run / "nodes",
        service_addresses=API_SERVICES,
    )


def _world_config(site: LabSite) -> WorldConfig:
    """The world's settings, with a certificate of an authority of its own."""
    folder = site.state / "world"
    ensure_authority(folder)
    addresses = tuple(str(address) for address in WORLD_ADDRESSES)
    ensure_server(folder, (*NAMES, *addresses))
    return WorldConfig(addresses, f"{folder}/server.crt", f"{folder}/server.key")


def _prepare_node(site: LabSite, node: str) -> None:
    place, host = site.node(node), site.node_host(node)
    place.state.mkdir(parents=True, exist_ok=True)
    place.run.mkdir(parents=True, exist_ok=True)
    networks = pod_networks(1 + site.node_names.index(node))
    kubelet = KubeletConfig(
        site=place,
        kubeconfig=site.inner_kubeconfig,
        addresses=(str(host.v4), str(host.v6)),
        cni_configs=place.run / "cni" / "net.d",
        cni_plugins=(place.run / "cni" / "bin",),
        cluster_dns=(str(DNS_SERVICE),),
        cluster_domain=CLUSTER_DOMAIN,
        pod_cidrs=tuple(networks),
        netns_prefix=f"cilia-{site.name}-pod-",
        labels={"node-role.kubernetes.io/control-plane": ""} if node == "node-1" else {},
    )
    _config_path(site, f"{node}/kubelet").write_bytes(encode_config(kubelet))
    _write(site, f"{node}/agent", _agent_config(site, node, networks))
    _write(site, f"{node}/observer", observer_config(site, node))


def _agent_config(site: LabSite, node: str, networks: list[str]) -> dict[str, Any]:
    """The agent's settings by name: it belongs to a room beside this one."""
    place = site.node(node)
    return {
        "node_name": node,
        "kubeconfig": site.inner_kubeconfig,
        "bpffs": place.bpffs,
        "cgroup": place.cgroup,
        "state_dir": place.state,
        "run_dir": place.run,
        "cni_conf_dir": place.run / "cni" / "net.d",
        "cni_bin_dir": place.run / "cni" / "bin",
        "pod_cidrs": networks,
        "ipv4_native_routing_cidr": POD_NETWORKS[0],
        "ipv6_native_routing_cidr": POD_NETWORKS[1],
        "device": DEVICE,
        "prometheus_serve_addr": f":{METRICS_PORT}",
    }


def _write(site: LabSite, name: str, config: msgspec.Struct | dict[str, Any]) -> None:
    data = msgspec.json.encode(config, enc_hook=str)
    _config_path(site, name).write_bytes(msgspec.json.format(data, indent=2))
