"""The objects that a lab starts with: cluster DNS and the demos."""

import base64
from importlib import resources
from typing import Any

import msgspec
import yaml

from cilia.lab.site import API_PORT, API_SERVER, CLUSTER_DOMAIN, DNS_SERVICE, LabSite

Object = dict[str, Any]

DNS_IMAGE = "registry.k8s.io/coredns/coredns"
_DNS_LABELS = {"k8s-app": "kube-dns"}
_MOUNT = "/etc/cilia-dns"


def demos() -> list[str]:
    """Names of the demos that `--demo` takes."""
    folder = resources.files("cilia.lab") / "demo"
    return sorted(
        path.name.removesuffix(".yaml")
        for path in folder.iterdir()
        if path.name.endswith(".yaml") and not path.name.endswith("-policy.yaml")
    )


def demo_objects(name: str) -> list[Object]:
    """The objects of a demo's manifest."""
    text = (resources.files("cilia.lab") / "demo" / f"{name}.yaml").read_text()
    return [item for item in yaml.safe_load_all(text) if item]


def api_objects() -> list[Object]:
    """Where service default/kubernetes leads: the API server on the underlay, both families."""
    ports = [{"name": "https", "port": API_PORT, "protocol": "TCP"}]
    pieces = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": f"IPv{address.version}",
            "endpoints": [{"addresses": [str(address)], "conditions": {"ready": True}}],
            "ports": ports,
        }
        for name, address in (("kubernetes", API_SERVER.v4), ("kubernetes-v6", API_SERVER.v6))
    ]
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": str(API_SERVER.v4)}], "ports": ports}],
    }
    return [endpoints, *pieces]


def dns_objects(site: LabSite) -> list[Object]:
    """Cluster DNS: its credentials, its pod, and service kube-dns before it."""
    return [_dns_secret(site), _dns_service(), _dns_deployment()]


def _meta(name: str) -> Object:
    return {"name": name, "namespace": "kube-system", "labels": dict(_DNS_LABELS)}


def _dns_secret(site: LabSite) -> Object:
    config = {"kubeconfig": f"{_MOUNT}/kubeconfig", "domain": CLUSTER_DOMAIN}
    content = {
        "kubeconfig": site.inner_kubeconfig.read_bytes(),
        "dns.json": msgspec.json.encode(config),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta("cluster-dns"),
        "type": "Opaque",
        "data": {name: base64.b64encode(data).decode() for name, data in content.items()},
    }


def _dns_service() -> Object:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta("kube-dns"),
        "spec": {"clusterIP": str(DNS_SERVICE), "selector": dict(_DNS_LABELS), "ports": ports},
    }


def _dns_deployment() -> Object:
    container = {
        "name": "dns",
        "image": DNS_IMAGE,
        "args": ["--config", f"{_MOUNT}/dns.json"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": _MOUNT, "readOnly": True}],
    }
    template = {
        "metadata": {"labels": dict(_DNS_LABELS)},
        "spec": {
            "dnsPolicy": "Default",
            "containers": [container],
            "volumes": [{"name": "config", "secret": {"secretName": "cluster-dns"}}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta("cluster-dns"),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": dict(_DNS_LABELS)},
            "template": template,
        },
    }
