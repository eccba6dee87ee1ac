"""Tables of services, endpoints, slices and policies."""

from typing import Any

from cilia.lab.apiserver.errors import Json

from .cells import Printer, age, joined, label_text, selector_text


def _ports(item: Json) -> str:
    texts = []
    for port in (item.get("spec") or {}).get("ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return joined(texts)


def _external(item: Json) -> str:
    spec = item.get("spec") or {}
    addresses = list(spec.get("externalIPs") or [])
    kind = spec.get("type")
    if kind == "ExternalName":
        return spec.get("externalName") or "<none>"
    if kind == "LoadBalancer":
        ingress = ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        own = [entry.get("ip") or entry.get("hostname") for entry in ingress]
        return joined(own + addresses, "<pending>")
    return joined(addresses)


def _service(item: Json) -> list[Any]:
    spec = item.get("spec") or {}
    return [
        spec.get("type") or "<none>",
        spec.get("clusterIP") or "<none>",
        _external(item),
        _ports(item),
        age(item),
        label_text(spec.get("selector")),
    ]


def _endpoints(item: Json) -> list[Any]:
    texts: list[str] = []
    for subset in item.get("subsets") or []:
        ports = [port.get("port") for port in subset.get("ports") or []]
        for address in subset.get("addresses") or []:
            host = address.get("ip", "")
            host = f"[{host}]" if ":" in host and ports else host
            texts += [f"{host}:{port}" for port in ports] or [host]
    shown = joined(texts[:3])
    more = f" + {len(texts) - 3} more..." if len(texts) > 3 else ""
    return [shown + more, age(item)]


def _slice(item: Json) -> list[Any]:
    ports = [port.get("port", "*") for port in item.get("ports") or []]
    addresses = [
        address for entry in item.get("endpoints") or [] for address in entry.get("addresses") or []
    ]
    return [
        item.get("addressType", "<unset>"),
        _short(ports, "<unset>"),
        _short(addresses, "<unset>"),
        age(item),
    ]


def _short(values: list[Any], empty: str) -> str:
    more = f" + {len(values) - 3} more..." if len(values) > 3 else ""
    return joined(values[:3], empty) + more


def _policy(item: Json) -> list[Any]:
    return [selector_text((item.get("spec") or {}).get("podSelector")), age(item)]


def _ingress(item: Json) -> list[Any]:
    spec = item.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or [] if rule.get("host")]
    ingress = ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    addresses = [entry.get("ip") or entry.get("hostname") for entry in ingress]
    ports = "80, 443" if spec.get("tls") else "80"
    return [
        spec.get("ingressClassName") or "<none>",
        _short(hosts, "*"),
        joined(addresses, ""),
        ports,
        age(item),
    ]


PRINTERS = {
    "services": Printer(
        [
            ("Type", "string", 0),
            ("Cluster-IP", "string", 0),
            ("External-IP", "string", 0),
            ("Port(s)", "string", 0),
            ("Age", "string", 0),
            ("Selector", "string", 1),
        ],
        _service,
    ),
    "endpoints": Printer([("Endpoints", "string", 0), ("Age", "string", 0)], _endpoints),
    "endpointslices.discovery.k8s.io": Printer(
        [
            ("AddressType", "string", 0),
            ("Ports", "string", 0),
            ("Endpoints", "string", 0),
            ("Age", "string", 0),
        ],
        _slice,
    ),
    "networkpolicies.networking.k8s.io": Printer(
        [("Pod-Selector", "string", 0), ("Age", "string", 0)], _policy
    ),
    "ingresses.networking.k8s.io": Printer(
        [
            ("Class", "string", 0),
            ("Hosts", "string", 0),
            ("Address", "string", 0),
            ("Ports", "string", 0),
            ("Age", "string", 0),
        ],
        _ingress,
    ),
}
