"""Speaks gRPC to an observer or a relay: the one place of the client that does."""

import base64
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
from google.protobuf.message import Message

from cilia.cli.errors import ClientError
from cilia.cli.hubble.following import LostError
from cilia.hubble.proto.flow.flow_pb2 import FlowFilter
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.hubble.proto.peer.peer_pb2 import ChangeNotification, NotifyRequest
from cilia.hubble.proto.peer.peer_pb2_grpc import PeerStub

Json = Any

NS = 1_000_000_000
HEALTH = "/grpc.health.v1.Health/Check"
SERVICE = "hubble.server.Observer"
"""The name under which the health service knows the observer."""


class Target(msgspec.Struct, frozen=True):
    """Where the server is and how it is spoken to."""

    address: str
    """`host:port`, `tls://host:port` or `unix:///path`."""
    tls: bool = False
    ca_files: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    user: str = ""
    password: str = ""
    trusts_all: bool = False
    """Whatever certificate the server shows is believed."""
    dial_s: float = 5.0
    request_s: float = 12.0


class Observer:
    """A connection; every method raises ClientError when the server does not answer.

    Args:
        target: The server.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = _channel(target)
        self._stub = ObserverStub(self._channel)
        self._metadata: tuple[tuple[str, str], ...] = ()
        if target.user:
            word = base64.b64encode(f"{target.user}:{target.password}".encode()).decode()
            self._metadata = (("authorization", f"Basic {word}"),)

    def close(self) -> None:
        """Hangs up."""
        self._channel.close()

    def flows(self, request: Json) -> Iterator[Any]:
        """GetFlows: `request` as `selection` and `filters` make it, times in Unix ns."""
        wanted = flows_request(request)
        return self._stream(lambda: self._stub.GetFlows(wanted, metadata=self._metadata))

    def agent_events(self, request: Json) -> Iterator[Any]:
        """GetAgentEvents."""
        wanted = observer_pb2.GetAgentEventsRequest(**_selection(request))
        return self._stream(lambda: self._stub.GetAgentEvents(wanted, metadata=self._metadata))

    def debug_events(self, request: Json) -> Iterator[Any]:
        """GetDebugEvents."""
        wanted = observer_pb2.GetDebugEventsRequest(**_selection(request))
        return self._stream(lambda: self._stub.GetDebugEvents(wanted, metadata=self._metadata))

    def peers(self) -> Iterator[ChangeNotification]:
        """Peer.Notify: the nodes there are, then every change, without end."""
        stub = PeerStub(self._channel)
        return self._stream(lambda: stub.Notify(NotifyRequest(), metadata=self._metadata))

    def nodes(self) -> Any:
        """GetNodes."""
        return self._unary(self._stub.GetNodes, observer_pb2.GetNodesRequest())

    def namespaces(self) -> Any:
        """GetNamespaces."""
        return self._unary(self._stub.GetNamespaces, observer_pb2.GetNamespacesRequest())

    def status(self) -> Any:
        """ServerStatus."""
        return self._unary(self._stub.ServerStatus, observer_pb2.ServerStatusRequest())

    def is_healthy(self) -> bool:
        """What the server's own health service says."""
        health = importlib.import_module("grpc_health.v1.health_pb2")
        call = self._channel.unary_unary(
            HEALTH,
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString,
        )
        answer = self._unary(call, health.HealthCheckRequest(service=SERVICE))
        return bool(answer.status == health.HealthCheckResponse.SERVING)

    def _unary(self, call: Any, request: Message) -> Any:
        try:
            return call(request, timeout=self._target.request_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error) from None

    def _stream(self, start: Any) -> Iterator[Any]:
        call = start()
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._failure(error) from None
        finally:
            call.cancel()

    def _failure(self, error: Any) -> ClientError:
        code, details = error.code(), error.details()
        if code == grpc.StatusCode.UNAVAILABLE:
            return LostError(
                f"cannot reach the observer at {self._target.address}: {details}",
                "is it running? `cilia lab status` shows the lab's processes",
            )
        if code == grpc.StatusCode.UNIMPLEMENTED:
            return ClientError(
                f"the server at {self._target.address} does not answer this: {details}",
                "a node's observer knows its own flows, a relay knows the nodes",
            )
        return ClientError(f"{self._target.address}: {details or code.name}")


def flows_request(request: Json) -> observer_pb2.GetFlowsRequest:
    """The message of a request as JSON.

    Raises:
        ClientError: a filter that is not a FlowFilter.
    """
    made = observer_pb2.GetFlowsRequest(**_selection(request))
    made.whitelist.extend(flow_filters(request.get("allow", ())))
    made.blacklist.extend(flow_filters(request.get("deny", ())))
    made.field_mask.paths.extend(request.get("fields", ()))
    if not made.field_mask.paths:
        made.ClearField("field_mask")
    return made


def flow_filters(filters: Iterable[Json]) -> list[FlowFilter]:
    """Messages of filters as JSON; what reads JSON is imported when there are any.

    Raises:
        ClientError: one that is not a FlowFilter.
    """
    wanted = list(filters)
    if not wanted:
        return []
    parsed = importlib.import_module("cilia.cli.hubble.protojson").parsed_filters(wanted)
    return list(parsed)


def _selection(request: Json) -> Json:
    """The keyword arguments that every streaming request knows."""
    made = {key: request[key] for key in ("number", "first", "follow") if key in request}
    for key in ("since", "until"):
        if key in request:
            seconds, nanos = divmod(request[key], NS)
            made[key] = {"seconds": seconds, "nanos": nanos}
    return made


def _channel(target: Target) -> grpc.Channel:
    address = target.address
    is_tls = target.tls or address.startswith("tls://")
    address = address.removeprefix("tls://")
    if address.startswith("unix:"):
        path = Path("/" + address.removeprefix("unix:").lstrip("/"))
        if not path.exists():
            raise LostError(
                f"no observer at {path}: no such socket",
                "is it running? `cilia lab status` shows the lab's processes",
            )
        return grpc.insecure_channel(f"unix:{path}")
    if is_tls:
        credentials, name = _credentials(target, address)
        options = [("grpc.ssl_target_name_override", name)] if name else []
        channel = grpc.secure_channel(address, credentials, options)
    else:
        channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=target.dial_s)
    except grpc.FutureTimeoutError:
        channel.close()
        raise LostError(
            f"cannot reach {address} within {target.dial_s:g} s",
            "is the address right, and does it speak TLS (--tls)?",
        ) from None
    return channel


def _credentials(target: Target, address: str) -> tuple[grpc.ChannelCredentials, str]:
    """What TLS needs, and the name to expect in the server's certificate; empty: the address."""
    try:
        roots = b"".join(Path(file).read_bytes() for file in target.ca_files) or None
        key = Path(target.key).read_bytes() if target.key else None
        chain = Path(target.certificate).read_bytes() if target.certificate else None
    except OSError as error:
        raise ClientError(f"{error.filename}: {error.strerror}", "see the --tls flags") from None
    name = target.server_name
    if target.trusts_all:
        insecure = importlib.import_module("cilia.cli.hubble.insecure")
        own = (target.certificate, target.key) if target.certificate else None
        roots, name = insecure.shown_certificate(address, target.dial_s, own)
    return grpc.ssl_channel_credentials(roots, key, chain), name
