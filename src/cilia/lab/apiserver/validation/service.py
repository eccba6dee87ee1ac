"""Rules of services, endpoint slices and network policies."""

from ipaddress import ip_address, ip_network

from cilia.lab.apiserver.errors import Json

from .causes import Causes, dns_label, dns_subdomain
from .metadata import check_labels, check_selector
from .pod import check_port_reference

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_POLICIES = ("Cluster", "Local")


def check_service(causes: Causes, item: Json, old: Json | None) -> None:
    """A service."""
    spec = item["spec"]
    kind = spec.get("type")
    causes.one_of("spec.type", kind, _TYPES)
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        causes.required("spec.ports")
    _check_ports(causes, ports)
    causes.one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    for field in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if field in spec:
            causes.one_of(f"spec.{field}", spec[field], _POLICIES)
    check_labels(causes, "spec.selector", spec.get("selector"))
    if kind == "ExternalName":
        causes.name("spec.externalName", (spec.get("externalName") or "").lower(), dns_subdomain)
    for index, address in enumerate(spec.get("clusterIPs") or []):
        _check_address(causes, f"spec.clusterIPs[{index}]", address, none=True)
    if old is not None:
        _check_update(causes, spec, old["spec"])


def _check_ports(causes: Causes, ports: list[Json]) -> None:
    names: set[str] = set()
    places: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            causes.required(f"{path}.name")
        elif name:
            causes.name(f"{path}.name", name, dns_label)
            if name in names:
                causes.duplicate(f"{path}.name", name)
            names.add(name)
        causes.between(f"{path}.port", port.get("port", 0), 1, 65535)
        causes.one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
        if port.get("targetPort"):
            check_port_reference(causes, f"{path}.targetPort", port["targetPort"])
        if port.get("nodePort"):
            causes.between(f"{path}.nodePort", port["nodePort"], 1, 65535)
        place = (port.get("port"), port.get("protocol"))
        if place in places:
            causes.duplicate(path, {"port": port.get("port"), "protocol": port.get("protocol")})
        places.add(place)


def _check_address(causes: Causes, path: str, text: str, *, none: bool = False) -> None:
    if none and text == "None":
        return
    try:
        ip_address(text)
    except ValueError:
        causes.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _check_update(causes: Causes, spec: Json, old: Json) -> None:
    before = old.get("clusterIPs") or []
    now = spec.get("clusterIPs") or []
    stays = "ExternalName" not in (spec.get("type"), old.get("type"))
    if stays and before and now[:1] != before[:1]:
        causes.invalid("spec.clusterIPs[0]", now, "may not change once set")


def check_slice(causes: Causes, item: Json, old: Json | None) -> None:
    """An endpoint slice."""
    kind = item.get("addressType")
    if not kind:
        causes.required("addressType")
    else:
        causes.one_of("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    if old is not None:
        causes.immutable("addressType", kind, old.get("addressType"))
    for index, endpoint in enumerate(item.get("endpoints") or []):
        addresses = endpoint.get("addresses") or []
        if not addresses:
            causes.required(f"endpoints[{index}].addresses", "must contain at least 1 address")
        for place, address in enumerate(addresses):
            if kind in ("IPv4", "IPv6"):
                _check_address(causes, f"endpoints[{index}].addresses[{place}]", address)


def check_policy(causes: Causes, item: Json, old: Json | None) -> None:
    """A network policy."""
    spec = item["spec"]
    check_selector(causes, "spec.podSelector", spec.get("podSelector"))
    for index, kind in enumerate(spec.get("policyTypes") or []):
        causes.one_of(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress"))
    for direction, field in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or []):
            path = f"spec.{direction}[{index}]"
            _check_policy_ports(causes, f"{path}.ports", rule.get("ports") or [])
            for place, peer in enumerate(rule.get(field) or []):
                _check_peer(causes, f"{path}.{field}[{place}]", peer)


def _check_policy_ports(causes: Causes, path: str, ports: list[Json]) -> None:
    for index, port in enumerate(ports):
        place = f"{path}[{index}]"
        causes.one_of(f"{place}.protocol", port.get("protocol"), _PROTOCOLS)
        if "port" in port:
            check_port_reference(causes, f"{place}.port", port["port"])
        if "endPort" in port:
            causes.between(f"{place}.endPort", port["endPort"], 1, 65535)
            if not isinstance(port.get("port"), int):
                causes.invalid(f"{place}.endPort", port["endPort"], "port must be a number")
            elif port["endPort"] < port["port"]:
                text = "must be greater than or equal to `port`"
                causes.invalid(f"{place}.endPort", port["endPort"], text)


def _check_peer(causes: Causes, path: str, peer: Json) -> None:
    if not any(field in peer for field in ("podSelector", "namespaceSelector", "ipBlock")):
        causes.required(path, "must specify a peer")
    for field in ("podSelector", "namespaceSelector"):
        check_selector(causes, f"{path}.{field}", peer.get(field))
    if "ipBlock" not in peer:
        return
    if "podSelector" in peer or "namespaceSelector" in peer:
        causes.forbidden(path, "may not specify both ipBlock and another peer")
    block = peer["ipBlock"]
    cidrs = {f"{path}.ipBlock.cidr": block.get("cidr", "")}
    for index, text in enumerate(block.get("except") or []):
        cidrs[f"{path}.ipBlock.except[{index}]"] = text
    for place, text in cidrs.items():
        try:
            ip_network(text, strict=False)
        except ValueError:
            why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            causes.invalid(place, text, why)
