"""Calls of clients as metrics: how many, of what, and how they ended.

Names and labels are those of go-grpc-middleware, which stock dashboards ask for.

Source:
    https://github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus
    https://grpc.io/docs/guides/status-codes/
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
from prometheus_client.metrics_core import CounterMetricFamily, Metric

Handler = Any
Details = grpc.HandlerCallDetails
Call = tuple[str, str, str]
"""Type, service and method."""

LABELS = ("grpc_type", "grpc_service", "grpc_method")


class CallCounts(grpc.aio.ServerInterceptor):
    """Counts the calls of every server that it is given to; a collector, too."""

    def __init__(self) -> None:
        self._started: Counter[Call] = Counter()
        self._received: Counter[Call] = Counter()
        self._sent: Counter[Call] = Counter()
        self._handled: Counter[tuple[Call, str]] = Counter()

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler]], details: Details
    ) -> Handler:
        """The call's handler, counted; a method that is not served stays refused."""
        handler = await continuation(details)
        if handler is None:
            return None
        service, _, method = details.method.removeprefix("/").partition("/")
        asks, answers = handler.request_streaming, handler.response_streaming
        if asks:
            kind, make, inner = (
                ("bidi_stream", grpc.stream_stream_rpc_method_handler, handler.stream_stream)
                if answers
                else ("client_stream", grpc.stream_unary_rpc_method_handler, handler.stream_unary)
            )
        elif answers:
            kind, make = "server_stream", grpc.unary_stream_rpc_method_handler
            inner = handler.unary_stream
        else:
            kind, make, inner = "unary", grpc.unary_unary_rpc_method_handler, handler.unary_unary
        counted = self._counted(inner, (kind, service, method), asks)
        return make(counted, handler.request_deserializer, handler.response_serializer)

    def _counted(self, inner: Any, call: Call, asks: bool) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            with _Ending(self._handled, call, context):
                said = await inner(self._begin(request, call, asks), context)
                self._sent[call] += 1
                return said

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            with _Ending(self._handled, call, context):
                async for one in inner(self._begin(request, call, asks), context):
                    self._sent[call] += 1
                    yield one

        return stream if inspect.isasyncgenfunction(inner) else answer

    def _begin(self, request: Any, call: Call, asks: bool) -> Any:
        self._started[call] += 1
        if asks:
            return self._each(request, call)
        self._received[call] += 1
        return request

    async def _each(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        async for one in requests:
            self._received[call] += 1
            yield one

    def collect(self) -> Iterator[Metric]:
        """What was counted so far."""
        for name, text, counts in (
            ("started", "Calls that began.", self._started),
            ("msg_received", "Messages of clients.", self._received),
            ("msg_sent", "Messages to clients.", self._sent),
        ):
            metric = CounterMetricFamily(f"grpc_server_{name}", text, labels=LABELS)
            for call, count in list(counts.items()):
                metric.add_metric(call, count)
            yield metric
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls that ended, by how.", labels=(*LABELS, "grpc_code")
        )
        for (call, code), count in list(self._handled.items()):
            handled.add_metric((*call, code), count)
        yield handled


class _Ending:
    """Notes how a call ends."""

    def __init__(self, counts: Counter[tuple[Call, str]], call: Call, context: Any) -> None:
        self._counts = counts
        self._call = call
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        code = self._context.code()
        if kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit):
            name = "Canceled"
        elif code:  # set, or given to abort()
            name = code_name(code)
        else:
            name = "OK" if kind is None else "Unknown"
        self._counts[self._call, name] += 1


def code_name(code: grpc.StatusCode | int) -> str:
    """A status as Go spells it.

    >>> code_name(grpc.StatusCode.INVALID_ARGUMENT)
    'InvalidArgument'
    """
    found = {one.value[0]: one for one in grpc.StatusCode}[code] if isinstance(code, int) else code
    if found is grpc.StatusCode.OK:
        return "OK"
    return found.name.replace("CANCELLED", "CANCELED").title().replace("_", "")
