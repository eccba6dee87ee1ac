"""Writing one pod's status to the API server, for as long as it takes."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from cilia.lab.kubelet.pod import Pod
from cilia.lab.kubelet.ports import Api
from cilia.wire.kubernetes import ApiError, ApiUnreachable

log = logging.getLogger(__name__)

Object = dict[str, Any]
_AGAIN_S = 1.0


class Publisher:
    """Keeps the API server's copy of a pod's status at the latest we have."""

    def __init__(self, api: Api, missing: Callable[[], None]) -> None:
        """`missing` is called when the API server does not know the pod any more."""
        self._api = api
        self._missing = missing
        self._wanted: Object | None = None
        self._written: Object | None = None
        self._wake = asyncio.Event()

    def publish(self, status: Object) -> None:
        """Takes a status to write; only the latest counts."""
        if status != self._wanted:
            self._wanted = status
            self._wake.set()

    def note(self, status: Object) -> None:
        """Takes in what the API server has; somebody else's changes are written over."""
        if self._written is not None and not _covers(status, self._written):
            self._written = None
            self._wake.set()

    async def run(self, path: str) -> None:
        """Writes for ever.

        Args:
            path: The pod's path.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush(path)
            except ApiUnreachable:
                await asyncio.sleep(_AGAIN_S)
                self._wake.set()
            except ApiError as error:
                if error.is_missing:
                    self._missing()
                    return
                log.warning("pod status was refused", extra={"pod": path, "error": str(error)})
                await asyncio.sleep(_AGAIN_S)
                self._wake.set()

    async def flush(self, path: str) -> None:
        """Writes the latest status now, if it is not written yet.

        Raises:
            ApiUnreachable: The API server is away.
            ApiError: It refused.
        """
        wanted = self._wanted
        if wanted is not None and wanted != self._written:
            await self._api.patch(f"{path}/status", {"status": wanted})
            self._written = wanted

    async def delete(self, pod: Pod) -> None:
        """Removes the pod's object, once the API server answers; a missing one is no error."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod.metadata.uid},
        }
        while True:
            try:
                await self._api.delete(pod.path, options)
                return
            except ApiUnreachable:
                await asyncio.sleep(_AGAIN_S)
            except ApiError as error:
                if not (error.is_missing or error.is_conflict):
                    log.warning("pod was not deleted", extra={"pod": pod.name, "error": str(error)})
                return


def _covers(there: Object, ours: Object) -> bool:
    """Whether `there` has the fields that we wrote, null ones apart."""
    return all(there.get(key) == value for key, value in ours.items() if value is not None)
