"""Which version answers: a header on every answer, as stock clients look for it."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

Handler = Any
Details = grpc.HandlerCallDetails


class VersionHeader(grpc.aio.ServerInterceptor):
    """Begins every answer with a header.

    Args:
        name: `hubble-server-version` of an observer, `hubble-relay-version` of a relay.
        version: What it says: `0.1.0`.
    """

    def __init__(self, name: str, version: str) -> None:
        self._header = ((name, version),)

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler]], details: Details
    ) -> Handler:
        """The call's handler, with the header put before what it says."""
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.request_streaming and handler.response_streaming:
            make, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        elif handler.request_streaming:
            make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
        elif handler.response_streaming:
            make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
        else:
            make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        return make(self._headed(inner), handler.request_deserializer, handler.response_serializer)

    def _headed(self, inner: Any) -> Any:
        header = self._header

        async def answer(request: Any, context: Any) -> Any:
            await context.send_initial_metadata(header)
            return await inner(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await context.send_initial_metadata(header)
            async for one in inner(request, context):
                yield one

        return stream if inspect.isasyncgenfunction(inner) else answer
