"""Defaults of services."""

from ipaddress import ip_address

from cilia.lab.apiserver.errors import Json


def default_service(item: Json) -> None:
    """Defaults of a service; cluster addresses are a controller's work."""
    spec = item.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        affinity = spec.setdefault("sessionAffinityConfig", {})
        affinity.setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if kind != "ExternalName" and not port.get("targetPort"):
            port["targetPort"] = port.get("port")
    item.setdefault("status", {}).setdefault("loadBalancer", {})
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    _default_addresses(spec)


def _default_addresses(spec: Json) -> None:
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    policy = spec.setdefault("ipFamilyPolicy", "SingleStack")
    if not spec.get("ipFamilies"):
        families = [_family(address) for address in spec.get("clusterIPs") or []]
        families = [family for family in families if family] or ["IPv4"]
        other = {"IPv4": "IPv6", "IPv6": "IPv4"}[families[0]]
        if policy != "SingleStack" and other not in families:
            families.append(other)
        spec["ipFamilies"] = families


def _family(address: str) -> str:
    try:
        return f"IPv{ip_address(address).version}"
    except ValueError:
        return ""
