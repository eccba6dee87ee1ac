"""The cluster's names: what services and their endpoints are called in DNS.

Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from cilia.lab.zone import Record, address_record, reverse_name

Object = dict[str, Any]
Key = tuple[str, str]

SERVICE_LABEL = "kubernetes.io/service-name"
SPECIFICATION = "1.1.0"


class ClusterZone:
    """Every name of a cluster; a service's names are worked out when it changes."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.names: dict[str, list[Record]] = {
            f"dns-version.{domain}": [Record("TXT", SPECIFICATION)],
            # They mean nothing, but they are there: what lies below them is.
            domain: [],
            f"svc.{domain}": [],
            f"pod.{domain}": [],
        }
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = defaultdict(dict)
        self._records: dict[Key, list[tuple[str, Record]]] = {}

    def put_service(self, service: Object) -> None:
        """Takes a service's present state."""
        key = key_of(service)
        self._services[key] = service
        self._refresh(key)

    def drop_service(self, service: Object) -> None:
        """Forgets a service that is gone."""
        self._services.pop(key_of(service), None)
        self._refresh(key_of(service))

    def put_slice(self, piece: Object) -> None:
        """Takes an EndpointSlice's present state."""
        if key := service_key(piece):
            self._slices[key][piece["metadata"]["name"]] = piece
            self._refresh(key)

    def drop_slice(self, piece: Object) -> None:
        """Forgets an EndpointSlice that is gone."""
        if key := service_key(piece):
            self._slices[key].pop(piece["metadata"]["name"], None)
            self._refresh(key)

    def replace_services(self, services: list[Object]) -> None:
        """Takes a list as all services there are."""
        for key in set(self._services) - {key_of(one) for one in services}:
            self.drop_service(self._services[key])
        for one in services:
            self.put_service(one)

    def replace_slices(self, pieces: list[Object]) -> None:
        """Takes a list as all EndpointSlices there are."""
        listed = {(service_key(one), one["metadata"]["name"]) for one in pieces}
        for key, known in list(self._slices.items()):
            for name in [name for name in known if (key, name) not in listed]:
                self.drop_slice(known[name])
        for one in pieces:
            self.put_slice(one)

    def _refresh(self, key: Key) -> None:
        for name, record in self._records.pop(key, ()):
            self.names[name].remove(record)
            if not self.names[name]:
                del self.names[name]
        service = self._services.get(key)
        if service is None:
            return
        slices = list(self._slices[key].values())
        self.names.setdefault(f"{key[0]}.svc.{self.domain}", [])
        records = list(dict.fromkeys(service_records(service, slices, self.domain)))
        self._records[key] = records
        for name, record in records:
            self.names.setdefault(name, []).append(record)


def key_of(item: Object) -> Key:
    """Namespace and name of an object."""
    return item["metadata"]["namespace"], item["metadata"]["name"]


def service_key(piece: Object) -> Key | None:
    """Namespace and name of the service that an EndpointSlice belongs to."""
    name = (piece["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return (piece["metadata"]["namespace"], name) if name else None


def service_records(
    service: Object, slices: list[Object], domain: str
) -> Iterator[tuple[str, Record]]:
    """The names of one service and what they mean."""
    namespace, name = key_of(service)
    own = f"{name}.{namespace}.svc.{domain}"
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        yield own, Record("CNAME", str(spec["externalName"]).rstrip(".").lower())
        return
    addresses = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
    if addresses == ["None"]:
        yield from _headless(own, slices)
        return
    for address in addresses:
        yield own, address_record(address)
        yield reverse_name(address), Record("PTR", own)
    for port in spec.get("ports") or []:
        if port.get("name"):
            yield _port_name(own, port), Record("SRV", own, int(port["port"]))


def _headless(own: str, slices: list[Object]) -> Iterator[tuple[str, Record]]:
    """A headless service's name means its ready endpoints; each has a name of its own."""
    for piece in slices:
        for endpoint in piece.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or []:
                label = endpoint.get("hostname") or dashed(address)
                target = f"{label}.{own}"
                yield own, address_record(address)
                yield target, address_record(address)
                yield reverse_name(address), Record("PTR", target)
                for port in piece.get("ports") or []:
                    if port.get("name"):
                        yield _port_name(own, port), Record("SRV", target, int(port["port"]))


def _port_name(own: str, port: Object) -> str:
    return f"_{port['name']}._{(port.get('protocol') or 'TCP').lower()}.{own}"


def dashed(address: str) -> str:
    """An address as a DNS label.

    >>> dashed("fd00:10::5"), dashed("10.0.1.5")
    ('fd00-10--5', '10-0-1-5')
    """
    return address.replace(".", "-").replace(":", "-")


def pod_record(name: str, domain: str) -> Record | None:
    """What `<dashed address>.<namespace>.pod.<domain>` means; None: it is no such name.

    >>> pod_record("10-0-1-5.default.pod.cluster.local", "cluster.local").value
    '10.0.1.5'
    """
    label, _, rest = name.partition(".")
    if not rest.endswith(f".pod.{domain}") or rest.count(".") != domain.count(".") + 2:
        return None
    for separator in (".", ":"):
        try:
            return address_record(str(ip_address(label.replace("-", separator))))
        except ValueError:
            continue
    return None
