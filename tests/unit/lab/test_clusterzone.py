from typing import Any

import pytest
from dnslib import RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.clusterzone import ClusterZone, pod_record
from cilia.lab.zone import answer, fitting

DOMAIN = "cluster.local"


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "web", "port": 80}]
    spec = {"ports": ports, "clusterIPs": ["10.96.0.7", "fd00:96::7"], **spec}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def piece(name: str, of: str, *addresses: str, ready: bool = True) -> dict[str, Any]:
    endpoints = [{"addresses": [one], "conditions": {"ready": ready}} for one in addresses]
    labels = {"kubernetes.io/service-name": of}
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "endpoints": endpoints,
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
    }


def ask(zone: ClusterZone, name: str, kind: str) -> tuple[str, list[str]]:
    reply = answer(DNSRecord.question(name, kind), zone.names, DOMAIN)
    return RCODE[reply.header.rcode], [str(record.rdata) for record in reply.rr]


@pytest.fixture
def zone() -> ClusterZone:
    made = ClusterZone(DOMAIN)
    made.put_service(service("web"))
    made.put_service(service("each", clusterIPs=["None"]))
    made.put_service(service("out", type="ExternalName", externalName="cilium.io"))
    made.put_slice(piece("each-1", "each", "10.0.1.5", "10.0.1.6"))
    made.put_slice(piece("each-2", "each", "10.0.1.7", ready=False))
    return made


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.shop.svc.cluster.local", "A", ("NOERROR", ["10.96.0.7"])),
        ("WEB.shop.svc.Cluster.Local", "AAAA", ("NOERROR", ["fd00:96::7"])),
        ("web.shop.svc.cluster.local", "MX", ("NOERROR", [])),
        ("each.shop.svc.cluster.local", "A", ("NOERROR", ["10.0.1.5", "10.0.1.6"])),
        ("10-0-1-5.each.shop.svc.cluster.local", "A", ("NOERROR", ["10.0.1.5"])),
        ("out.shop.svc.cluster.local", "A", ("NOERROR", ["cilium.io."])),
        ("none.shop.svc.cluster.local", "A", ("NXDOMAIN", [])),
        ("shop.svc.cluster.local", "A", ("NOERROR", [])),
        ("7.0.96.10.in-addr.arpa", "PTR", ("NOERROR", ["web.shop.svc.cluster.local."])),
        ("_web._tcp.web.shop.svc.cluster.local", "SRV",
         ("NOERROR", ["0 100 80 web.shop.svc.cluster.local."])),
        ("dns-version.cluster.local", "TXT", ("NOERROR", ['"1.1.0"'])),
    ],
)  # fmt: skip
def test_names_mean_what_the_specification_says(
    zone: ClusterZone, name: str, kind: str, expected: tuple[str, list[str]]
) -> None:
    assert ask(zone, name, kind) == expected


def test_negative_answers_carry_the_zone(zone: ClusterZone) -> None:
    reply = answer(DNSRecord.question("x.cluster.local", "A"), zone.names, DOMAIN)
    assert [str(record.rname) for record in reply.auth] == ["cluster.local."]


def test_a_long_answer_is_cut_and_says_so() -> None:
    zone = ClusterZone(DOMAIN)
    zone.put_service(service("big", clusterIPs=["None"]))
    zone.put_slice(piece("big-1", "big", *(f"10.0.1.{number}" for number in range(100))))
    reply = answer(DNSRecord.question("big.shop.svc.cluster.local", "A"), zone.names, DOMAIN)
    short = DNSRecord.parse(fitting(reply, 512))
    assert short.header.tc == 1
    assert len(fitting(reply, 512)) <= 512
    assert DNSRecord.parse(fitting(reply, 65535)).header.tc == 0


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("10-0-1-5.default.pod.cluster.local", "10.0.1.5"),
        ("fd00-10--5.default.pod.cluster.local", "fd00:10::5"),
        ("10-0-1.default.pod.cluster.local", None),
        ("10-0-1-5.pod.cluster.local", None),
        ("10-0-1-5.default.svc.cluster.local", None),
    ],
)
def test_pod_names(name: str, address: str | None) -> None:
    record = pod_record(name, DOMAIN)
    assert (record and record.value) == address


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("service"),
            st.sampled_from(["a", "b"]),
            st.sampled_from([["None"], ["10.96.0.1"], ["10.96.0.2", "fd00:96::2"], None]),
        ),
        st.tuples(
            st.just("slice"),
            st.sampled_from(["a", "b"]),
            st.one_of(st.none(), st.lists(st.integers(1, 5), unique=True, max_size=3)),
        ),
    ),
    max_size=12,
)


@given(OPERATIONS)
def test_changes_one_by_one_end_where_a_fresh_list_begins(operations: list[Any]) -> None:
    grown, services, slices = ClusterZone(DOMAIN), {}, {}
    for what, name, value in operations:
        if what == "service" and value is None:
            if name in services:
                grown.drop_service(services.pop(name))
        elif what == "service":
            services[name] = service(name, clusterIPs=value)
            grown.put_service(services[name])
        elif value is None:
            if name in slices:
                grown.drop_slice(slices.pop(name))
        else:
            slices[name] = piece(name, name, *(f"10.0.1.{number}" for number in value))
            grown.put_slice(slices[name])
    fresh = ClusterZone(DOMAIN)
    fresh.replace_slices(list(slices.values()))
    fresh.replace_services(list(services.values()))
    relisted = ClusterZone(DOMAIN)
    relisted.put_service(service("stale"))
    relisted.replace_services(list(services.values()))
    relisted.replace_slices(list(slices.values()))

    def known(zone: ClusterZone) -> dict[str, list[Any]]:
        return {name: sorted(records) for name, records in zone.names.items() if records}

    assert known(grown) == known(fresh) == known(relisted)
