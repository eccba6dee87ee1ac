"""From inside pods: the cluster's names, and the internet under the node's address."""

import pytest

from cilia.lab.site import underlay_host
from lab.running_lab import Done, RunningLab

NODE = underlay_host(11)


def inside(lab: RunningLab, *words: str) -> Done:
    return lab.kubectl("exec", "xwing", "--", *words)


def addresses(lab: RunningLab, name: str, family: int) -> set[str]:
    done = inside(lab, "getent", f"ahostsv{family}", name)
    return {line.split()[0] for line in done.stdout.splitlines()}


def cluster_addresses(lab: RunningLab, namespace: str, service: str) -> list[str]:
    found = lab.json("-n", namespace, "get", "service", service)["spec"]["clusterIPs"]
    return [str(address) for address in found]


@pytest.mark.parametrize(
    "name",
    ["deathstar", "deathstar.default", "deathstar.default.svc.cluster.local", "DeathStar.default"],
)
def test_a_service_is_found_by_each_of_its_names(lab: RunningLab, name: str) -> None:
    assert addresses(lab, name, 4) == set(cluster_addresses(lab, "default", "deathstar"))


def test_a_service_of_both_families_has_both_addresses(lab: RunningLab) -> None:
    v4, v6 = cluster_addresses(lab, "default", "kubernetes")
    assert addresses(lab, "kubernetes.default", 4) == {v4}
    assert addresses(lab, "kubernetes.default", 6) == {v6}


def test_a_name_that_is_not_there_is_told_so(lab: RunningLab) -> None:
    assert inside(lab, "getent", "hosts", "nobody.default.svc.cluster.local").returncode == 2
    assert inside(lab, "getent", "hosts", "nobody.example").returncode == 2


@pytest.mark.parametrize(
    ("family", "source"), [("-4", str(NODE.v4)), ("-6", str(NODE.v6))], ids=["IPv4", "IPv6"]
)
@pytest.mark.parametrize("url", ["http://cilium.io/", "https://one.one.one.one/"])
def test_the_world_sees_the_node(lab: RunningLab, family: str, source: str, url: str) -> None:
    done = inside(lab, "curl", "-sk", family, "--max-time", "10", url)
    assert f"you are {source} port" in done.stdout, done


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_the_world_answers_pings(lab: RunningLab, address: str) -> None:
    done = inside(lab, "ping", "-c", "1", "-W", "5", address)
    assert done.returncode == 0, done


def test_the_api_server_is_a_service(lab: RunningLab) -> None:
    for address in cluster_addresses(lab, "default", "kubernetes"):
        host = f"[{address}]" if ":" in address else address
        done = inside(lab, "curl", "-skg", "--max-time", "10", f"https://{host}/healthz")
        assert done.returncode == 0, done
