"""POST /v1/cni/{add,del,check,status,gc}: bytes in, HTTP status and CNI's JSON out."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from cilia.endpoint import cni
from cilia.endpoint.cni import CniError, Json, RawRequest
from cilia.endpoint.service import EndpointService
from cilia.kernel.errors import ExistsError, NotFoundError
from cilia.model.errors import CiliaError, InvalidValue, NotFound

log = logging.getLogger(__name__)


class Health(Protocol):
    """Whether new pods can be connected now."""

    def problem(self) -> str:
        """Returns why not; empty when all is well."""
        ...


class CniHandler:
    """Answers the CNI plugin."""

    def __init__(self, endpoints: EndpointService, health: Health | None = None) -> None:
        self._endpoints = endpoints
        self._health = health
        self._commands: dict[str, Callable[[RawRequest], Awaitable[Json]]] = {
            "add": self._add,
            "del": self._delete,
            "check": self._check,
            "status": self._status,
            "gc": self._collect,
        }

    async def handle(self, command: str, body: bytes) -> tuple[int, Json]:
        """What the plugin shall print, and the HTTP status that says whether it failed."""
        action = self._commands.get(command)
        try:
            if action is None:
                raise CniError(cni.INVALID_ENVIRONMENT, f"CNI_COMMAND {command!r}: unknown")
            return 200, await action(cni.decode_raw(body))
        except CiliaError as error:
            refusal = _refusal(error)
            log.warning(
                "CNI request refused",
                extra={"command": command, "code": refusal.code, "error": str(error)},
            )
            own_fault = refusal.code in (cni.IO_FAILURE, cni.TRY_AGAIN_LATER, cni.NOT_AVAILABLE)
            return 500 if own_fault else 400, cni.encode_error(refusal)

    async def _add(self, raw: RawRequest) -> Json:
        request = cni.decode_pod(raw)
        return cni.encode_result(await self._endpoints.add(request), request.version)

    async def _delete(self, raw: RawRequest) -> Json:
        await self._endpoints.delete(raw.container_id, raw.ifname)
        return {}

    async def _check(self, raw: RawRequest) -> Json:
        await self._endpoints.check(cni.decode_pod(raw))
        return {}

    async def _status(self, raw: RawRequest) -> Json:
        cni.check_version(raw.config)
        problem = self._health.problem() if self._health else ""
        if problem:
            raise CniError(cni.NOT_AVAILABLE, f"not ready: {problem}", "see `cilia status`")
        return {}

    async def _collect(self, raw: RawRequest) -> Json:
        await self._endpoints.collect(cni.decode_valid_attachments(raw.config))
        return {}


def _refusal(error: CiliaError) -> CniError:
    """The CNI error for what went wrong in a room."""
    if isinstance(error, CniError):
        return error
    if isinstance(error, NotFound):
        return CniError(cni.UNKNOWN_CONTAINER, str(error))
    if isinstance(error, InvalidValue | NotFoundError | ExistsError):
        return CniError(cni.INVALID_ENVIRONMENT, str(error))
    return CniError(cni.TRY_AGAIN_LATER, str(error))
