"""From services and slices to frontends."""

from cilia.service.frontend import frontends_of
from cilia.state.endpoint_slices import EndpointSlice, SliceBackend, SlicePort
from cilia.state.services import Service, ServicePort


def service(*ports: ServicePort, ips: tuple[str, ...] = ("10.96.0.7", "fd00:96::7")) -> Service:
    return Service("default", "deathstar", "ClusterIP", ips, ports)


def pods(*backends: SliceBackend, port: SlicePort | None = None) -> EndpointSlice:
    ports = (port or SlicePort("http", "TCP", 8080),)
    return EndpointSlice("default", "deathstar-abc", "deathstar", ports, backends)


HTTP = ServicePort("http", "TCP", 80)


def told(wanted: Service, *slices: EndpointSlice) -> dict[str, list[str]]:
    return {
        f"{row.address}:{row.port}/{row.protocol}": [
            f"{b.address}:{b.port} {b.state}" for b in row.backends
        ]
        for row in frontends_of(wanted, slices)
    }


def test_each_family_gets_its_own_backends_on_the_target_port() -> None:
    assert told(service(HTTP), pods(SliceBackend(("10.0.1.5",)), SliceBackend(("fd00::5",)))) == {
        "10.96.0.7:80/TCP": ["10.0.1.5:8080 active"],
        "fd00:96::7:80/TCP": ["fd00::5:8080 active"],
    }


def test_only_the_slice_port_of_the_same_name_and_protocol_counts() -> None:
    dns = ServicePort("dns", "UDP", 53)
    assert told(
        service(HTTP, dns, ips=("10.96.0.7",)),
        pods(SliceBackend(("10.0.1.5",))),
        pods(SliceBackend(("10.0.1.6",)), port=SlicePort("dns", "UDP", 5353)),
        pods(SliceBackend(("10.0.1.9",)), port=SlicePort("dns", "TCP", 5353)),
    ) == {
        "10.96.0.7:80/TCP": ["10.0.1.5:8080 active"],
        "10.96.0.7:53/UDP": ["10.0.1.6:5353 active"],
    }


def test_terminating_backends_are_the_last_resort() -> None:
    leaving = SliceBackend(("10.0.1.6",), ready=False, serving=True, terminating=True)
    broken = SliceBackend(("10.0.1.7",), ready=False, serving=False, terminating=True)
    unready = SliceBackend(("10.0.1.8",), ready=False)
    only = service(HTTP, ips=("10.96.0.7",))
    assert told(only, pods(leaving, SliceBackend(("10.0.1.5",)))) == {
        "10.96.0.7:80/TCP": ["10.0.1.5:8080 active"]
    }
    assert told(only, pods(leaving, broken, unready)) == {
        "10.96.0.7:80/TCP": ["10.0.1.6:8080 terminating"]
    }
    assert told(only, pods(broken, unready)) == {"10.96.0.7:80/TCP": []}


def test_an_address_in_two_slices_is_one_backend() -> None:
    twice = pods(SliceBackend(("10.0.1.5",)))
    stale = pods(SliceBackend(("10.0.1.5",), ready=False, terminating=True))
    only = service(HTTP, ips=("10.96.0.7",))
    assert told(only, stale, twice) == {"10.96.0.7:80/TCP": ["10.0.1.5:8080 active"]}


def test_a_headless_service_has_no_frontend() -> None:
    assert told(service(HTTP, ips=()), pods(SliceBackend(("10.0.1.5",)))) == {}
