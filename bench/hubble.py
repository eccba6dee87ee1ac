"""How long `cilia hubble observe` waits over 1,000,000 flows in memory, by kind of filter.

The server is a process of its own and is asked over its socket. First row: of `--last 20`, and
of `--all`; for a filter that nothing matches, the end of the stream. Scan: until the end of
`--all`, so with making and sending what matches. The baseline has every flow as a message and
asks one after the other in a loop, over 20,000 of them; its figure is fifty times that.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np

from bench.report import save, summary
from cilia.datapath.records import event_dtype
from cilia.hubble.columns import AUDIT
from cilia.hubble.events import (
    DROP,
    POLICY_DENIED,
    POLICY_VERDICT,
    SOCK_FILE,
    SOCK_PRE_FORWARD,
    TRACE,
    TRACE_SOCK,
)
from cilia.hubble.filters import compile_message_filters
from cilia.hubble.flows import FlowMaker, timestamp
from cilia.hubble.parties import SIDES
from cilia.hubble.peers import Peer
from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.server.getflows import unix_ns
from cilia.hubble.server.listener import HubbleApi, HubbleSocket
from cilia.hubble.store import PIECE, FlowStore
from cilia.runtime.services import serve

FLOWS, SAMPLE, ROUNDS, LAST = 1_000_000, 20_000, 5, 20
BUDGET_S = 0.05
PODS, SPACES, FRONTENDS = 1_000, 500, 100
FIRST_IDENTITY = 1_000
RARE = 1_000
"""One flow in so many is of each rare kind."""
OLDEST_PORT, NEWEST_PORT, NO_PORT = 31_001, 31_002, 31_003
BEGAN_NS, STEP_NS = 1_700_000_000 * 10**9, 1_000_000
V4 = bytes(10) + b"\xff\xff"
NODE = "default/bench"
GET_FLOWS = "/observer.Observer/GetFlows"
DEADLINE_S = 60
Row = dict[str, object]
Request = observer_pb2.GetFlowsRequest
Filter = flow_pb2.FlowFilter


class Names:
    """Pods by number, in some namespaces, with labels as pods have them."""

    def endpoint(self, number: int) -> EndpointName:
        """Every endpoint is a pod."""
        return EndpointName(f"space-{number % SPACES}/pod-{number:04}")

    def pod_at(self, address: str, identity: int) -> str:
        """Nobody is elsewhere."""
        return ""

    def workloads(self, pod: str) -> Sequence[tuple[str, str]]:
        """Every pod is of a Deployment of its namespace."""
        return [(pod.partition("/")[0] + "-web", "Deployment")]

    def service(self, address: str, port: int, protocol: int) -> str:
        """Every address of a service is one."""
        return f"shop/front-{address.rpartition('.')[2]}"

    def labels(self, identity: int) -> Sequence[str]:
        """As many as a pod of a Deployment has."""
        own = [f"k8s:label-{n}=value-{n}" for n in range(5)]
        return [*own, f"k8s:app=app-{identity}"]

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """None."""
        return []


def filled(count: int) -> FlowStore:
    """A store of so many flows, the same mixture everywhere."""
    store = FlowStore(event_dtype(), count)
    addresses = np.array([V4 + bytes((10, 0, n >> 8, n & 255)) for n in range(PODS + 1)], "V16")
    fronts = np.array([V4 + bytes((10, 96, 0, n)) for n in range(FRONTENDS)], "V16")
    for first in range(0, count, PIECE):
        numbers = np.arange(first, min(count, first + PIECE))
        store.add(records(numbers, count, addresses, fronts), BEGAN_NS)
        store.take_fresh()
    store.parties.join(Names())
    store.services.join(Names())
    store.show(store.total)
    return store


def records(numbers: Any, count: int, addresses: Any, fronts: Any) -> Any:
    """Flows by their numbers: packets of TCP, and now and then something else."""
    rows = np.zeros(len(numbers), event_dtype())
    one, other = numbers * 7 % PODS + 1, numbers * 11 % PODS + 1
    kind = numbers % RARE
    drop, audit, sock, udp, reset = (kind == n for n in (1, 2, 3, 4, 5))
    columns: dict[str, Any] = {
        "time": numbers * STEP_NS,
        "type": np.select([drop, audit, sock], [DROP, POLICY_VERDICT, TRACE_SOCK], TRACE),
        "subtype": np.select([drop, sock], [POLICY_DENIED, SOCK_PRE_FORWARD], 0),
        "verdict": np.where(audit, AUDIT, 1),
        "protocol": np.where(udp, 17, 6),
        "tcp_flags": np.select([udp, reset], [0, 4], 16),
        "file": np.where(sock, SOCK_FILE, 1),
        "cookie": np.where(sock, numbers, 0),
        "source": addresses[one],
        "destination": np.where(sock, fronts[numbers // RARE % FRONTENDS], addresses[other]),
        "source_port": 32_768 + numbers % 28_000,
        "destination_port": np.select(
            [numbers == 0, numbers == count - 1], [OLDEST_PORT, NEWEST_PORT], 1 + numbers % 1_000
        ),
        "source_identity": FIRST_IDENTITY + one,
        "destination_identity": np.where(sock, 0, FIRST_IDENTITY + other),
        "source_endpoint": one,
        "destination_endpoint": np.where(sock, 0, other),
    }
    for name, values in columns.items():
        rows[name] = values
    return rows


def either(field: str, *values: Any) -> Request:
    """What `observe --FIELD` asks: of one side or of the other."""
    sides: list[dict[str, Any]] = [{f"{side}_{field}": values} for side in SIDES]
    return Request(whitelist=[Filter(**side) for side in sides])


def only(**fields: Any) -> Request:
    """A request with one filter."""
    return Request(whitelist=[Filter(**fields)])


CASES: dict[str, Request] = {
    "everything": Request(),
    "pod": either("pod", "space-207/pod-0207"),
    "namespace": either("pod", "space-7/"),
    "label": either("label", "app=app-1207"),
    "workload": either("workload", flow_pb2.Workload(name="space-7-web")),
    "identity": either("identity", 1207),
    "ip": either("ip", "10.0.0.207"),
    "cidr": either("ip", "10.0.2.0/30"),
    "port": either("port", "443"),
    "service": only(destination_service=["shop/front-77"]),
    "verdict": only(verdict=[flow_pb2.AUDIT]),
    "drop reason": only(drop_reason_desc=[flow_pb2.POLICY_DENIED]),
    "protocol": only(protocol=["udp"]),
    "tcp flags": only(tcp_flags=[flow_pb2.TCPFlags(RST=True)]),
    "since": Request(since=timestamp(BEGAN_NS + (FLOWS - 1_000) * STEP_NS)),
    "pod and port and not label": Request(
        whitelist=[Filter(source_pod=["space-95/"], destination_port=["443"])],
        blacklist=[Filter(destination_label=["app=app-1207"])],
    ),
    "one match, the oldest": only(destination_port=[str(OLDEST_PORT)]),
    "one match, the newest": only(destination_port=[str(NEWEST_PORT)]),
    "no match": only(destination_port=[str(NO_PORT)]),
}


def observer(folder: Path) -> None:
    """Serves a full store, as `cilia observer` does, for ever."""
    own = Peer("bench", f"unix://{folder}/hubble.sock")
    api = HubbleApi(filled(FLOWS), Names(), NODE, "0.1.0", own)
    asyncio.run(serve((HubbleSocket(folder / "hubble.sock", api.server),)))


@contextmanager
def served(folder: Path) -> Iterator[Any]:
    """A channel to an observer that runs meanwhile."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=observer, args=(folder,), daemon=True)
    process.start()
    try:
        with grpc.insecure_channel(f"unix://{folder}/hubble.sock") as channel:
            grpc.channel_ready_future(channel).result(DEADLINE_S)
            yield channel
    finally:
        process.terminate()
        process.join()


def asked(channel: Any, request: Request) -> tuple[float, float, int]:
    """Seconds until the first row, or the end if there is none; seconds to the end; rows."""
    raw = request.SerializeToString()
    began, first, count = time.perf_counter(), 0.0, 0
    for _ in channel.unary_stream(GET_FLOWS)(raw):
        first = first or time.perf_counter() - began
        count += 1
    whole = time.perf_counter() - began
    return first or whole, whole, count


def first_row(channel: Any, request: Request) -> float:
    """Seconds until the first row, or the end if there is none."""
    began = time.perf_counter()
    call = channel.unary_stream(GET_FLOWS)(request.SerializeToString())
    next(call, None)
    found = time.perf_counter() - began
    call.cancel()
    return found


def seconds_of_loop(flows: Sequence[flow_pb2.Flow], request: Request) -> float:
    """Of the baseline, at its best."""
    match = compile_message_filters(request.whitelist, request.blacklist)
    since = unix_ns(request.since)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        sum(1 for flow in flows if unix_ns(flow.time) >= since and match(flow))
        times.append(time.perf_counter() - began)
    return min(times)


def measure(channel: Any, flows: Sequence[flow_pb2.Flow], name: str) -> Row:
    """One kind of filter."""
    request, last = CASES[name], Request()
    last.CopyFrom(CASES[name])
    last.number = LAST
    newest = summary([first_row(channel, last) for _ in range(ROUNDS)])
    oldest = summary([first_row(channel, request) for _ in range(ROUNDS)])
    row: Row = {"filter": name, f"--last {LAST}, first row s": newest, "--all, first row s": oldest}
    slowest = max(newest["median"], oldest["median"])
    row["budget"] = "holds" if slowest <= BUDGET_S else "fails"
    if name == "everything":  # to make a million flows says nothing about filters
        return row
    scans = [asked(channel, request) for _ in range(3)]
    whole = summary([seconds for _, seconds, _ in scans])
    loop = seconds_of_loop(flows, request) * FLOWS / len(flows)
    ratio = loop / whole["median"]
    return row | {"rows": scans[0][2], "scan s": whole, "loop s": loop, "ratio": ratio}


def line(row: Row) -> str:
    """A row to be read."""

    def text(value: object) -> str:
        if isinstance(value, dict):
            return f"{value['median']:.4f} [{value['low']:.4f} to {value['high']:.4f}]"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    return "  ".join(f"{name} {text(value)}" for name, value in row.items())


def main() -> None:
    """Prints and keeps the figures."""
    store = filled(SAMPLE)
    maker = FlowMaker(store, Names(), NODE, "0.1.0")
    flows = [maker.flow(number) for number in range(SAMPLE)]
    rows: list[Row] = []
    with TemporaryDirectory() as folder, served(Path(folder)) as channel:
        for name in CASES:
            rows.append(measure(channel, flows, name))
            print(line(rows[-1]), flush=True)
    save("hubble", "python -m bench hubble", rows)
