"""Hubble beyond this node: the TCP port, the peers, and what the agent did."""

from pathlib import Path
from typing import Any

import msgspec

from cilia.hubble.peers import PORT, Peer
from cilia.hubble.server.listener import HubbleApi, HubblePort
from cilia.hubble.tls import TlsFiles, node_server_name
from cilia.observer.agent_feed import event_feed, node_feed
from cilia.observer.settings import ObserverSettings
from cilia.runtime.services import Service

Json = dict[str, Any]


class PeerForm(msgspec.Struct, frozen=True):
    """How nodes become peers."""

    cluster: str
    port: int = PORT
    tls: bool = True
    prefer_ipv6: bool = False

    def peer(self, node: str, address: str) -> Peer:
        """The peer of a node at `ip:port`, or at a socket of this machine."""
        name = node if self.cluster == "default" else f"{self.cluster}/{node}"
        is_local = address.startswith("unix:")
        server_name = node_server_name(node, self.cluster) if self.tls and not is_local else ""
        return Peer(name, address, server_name)

    def of_node(self, element: Json) -> Peer | None:
        """The peer of a node as `/v1/cluster/nodes` has it; None while it has no address."""
        primary = element.get("primary-address") or {}
        order = ("ipv6", "ipv4") if self.prefer_ipv6 else ("ipv4", "ipv6")
        for family in order:
            ip = (primary.get(family) or {}).get("ip")
            if ip:
                host = f"[{ip}]" if ":" in ip else ip
                return self.peer(element["name"].rpartition("/")[2], f"{host}:{self.port}")
        return None


def peer_form(settings: ObserverSettings) -> PeerForm:
    """How this node's observer names the others: they are set up as it is."""
    port = settings.hubble_listen_address.rpartition(":")[2]
    return PeerForm(
        cluster=settings.cluster_name,
        port=int(port) if port.isdecimal() and int(port) else PORT,
        tls=not settings.hubble_disable_tls,
        prefer_ipv6=settings.hubble_prefer_ipv6,
    )


def own_peer(settings: ObserverSettings, socket: Path) -> Peer:
    """This node, before the agent has told its address."""
    return peer_form(settings).peer(settings.node_name, f"unix://{socket}")


def tls_files(settings: ObserverSettings) -> TlsFiles | None:
    """The certificates of the TCP port; None: it speaks no TLS."""
    if settings.hubble_disable_tls:
        return None
    return TlsFiles(
        settings.hubble_tls_cert_file,
        settings.hubble_tls_key_file,
        settings.hubble_tls_client_ca_files,
    )


def network_services(
    settings: ObserverSettings, agent_socket: Path, api: HubbleApi
) -> tuple[Service, ...]:
    """What runs beside the observer's own socket."""
    form, is_remote = peer_form(settings), bool(settings.hubble_listen_address)

    def learn(status: Json) -> None:
        own = status["self"].rpartition("/")[2]
        elements = [
            one
            for one in status.get("nodes-added") or []
            if is_remote or one["name"].rpartition("/")[2] != own
        ]
        api.peers.replace(filter(None, map(form.of_node, elements)))

    feeds: tuple[Service, ...] = (
        node_feed(agent_socket, learn),
        event_feed(agent_socket, api.events),
    )
    if not is_remote:
        return feeds
    api.peers.withhold_own()
    return (*feeds, HubblePort(settings.hubble_listen_address, tls_files(settings), api.server))
