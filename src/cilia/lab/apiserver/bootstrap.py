"""What a cluster has from its first second: four namespaces and its own service."""

from ipaddress import ip_address
from pathlib import Path

from .errors import Json, StatusError
from .options import WriteOptions
from .rest import Rest

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def bootstrap(rest: Rest, service_addresses: tuple[str, ...]) -> None:
    """Creates what is missing; keeps what is there."""
    for name in NAMESPACES:
        _create(rest, "namespaces", "", {"metadata": {"name": name}})
    _create(rest, "services", "default", _service(service_addresses))


def _service(addresses: tuple[str, ...]) -> Json:
    families = [f"IPv{ip_address(address).version}" for address in addresses]
    return {
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": addresses[0] if addresses else "None",
            "clusterIPs": list(addresses) or ["None"],
            "ipFamilies": families or ["IPv4"],
            "ipFamilyPolicy": "PreferDualStack" if len(families) > 1 else "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }


def create_namespace_content(rest: Rest, namespace: str, certificates: Path) -> None:
    """What every namespace has: the default service account, and the authority's certificate."""
    _create(rest, "serviceaccounts", namespace, {"metadata": {"name": "default"}})
    authority = (certificates / "ca.crt").read_text()
    content = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": authority}}
    _create(rest, "configmaps", namespace, content)


def _create(rest: Rest, plural: str, namespace: str, item: Json) -> None:
    resource = rest.registry.find("", "v1", plural)
    assert resource is not None, plural
    if rest.store.get(resource.key, (namespace, item["metadata"]["name"])) is not None:
        return
    try:
        rest.create(resource, namespace, item, WriteOptions())
    except StatusError as error:
        if error.reason not in ("AlreadyExists", "NotFound", "Forbidden"):
            raise
