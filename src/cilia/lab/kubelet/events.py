"""Kubernetes events of pods and the node, sent without holding anybody up.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Any

from cilia.lab.kubelet.ports import Api
from cilia.lab.kubelet.status import rfc3339
from cilia.model.errors import CiliaError

log = logging.getLogger(__name__)

Object = dict[str, Any]
_QUEUE_LENGTH = 1000
_REMEMBERED = 1000


class EventRecorder:
    """Sends events; the same one again becomes a count.

    Attributes:
        lost: Events that were dropped because the API server did not keep up.
    """

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._queue: asyncio.Queue[Object] = asyncio.Queue(_QUEUE_LENGTH)
        self._known: OrderedDict[tuple[str, ...], Object] = OrderedDict()
        self._serial = time.time_ns()
        self.lost = 0

    def record(self, subject: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Notes an event.

        Args:
            subject: An object reference: kind, namespace, name, uid.
            reason: One CamelCase word.
            message: For people.
            warning: Whether it is of type Warning.
        """
        key = (subject.get("uid", ""), subject.get("fieldPath", ""), reason, message)
        now = rfc3339(time.time())
        known = self._known.get(key)
        if known is None:
            self._serial += 1
            namespace = subject.get("namespace") or "default"
            known = {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{subject['name']}.{self._serial:x}", "namespace": namespace},
                "involvedObject": subject,
                "reason": reason,
                "message": message,
                "type": "Warning" if warning else "Normal",
                "source": {"component": "kubelet", "host": self._node},
                "reportingComponent": "kubelet",
                "reportingInstance": self._node,
                "firstTimestamp": now,
                "count": 0,
            }
            self._known[key] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        known["count"] += 1
        known["lastTimestamp"] = now
        try:
            self._queue.put_nowait(dict(known))
        except asyncio.QueueFull:
            self.lost += 1

    async def run(self) -> None:
        """Sends for ever."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(event)
            except CiliaError as error:
                self.lost += 1
                log.debug("event was not sent", extra={"error": str(error)})

    async def _send(self, event: Object) -> None:
        path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
        if event["count"] == 1:
            await self._api.create(path, event)
            return
        change = {"count": event["count"], "lastTimestamp": event["lastTimestamp"]}
        await self._api.patch(f"{path}/{event['metadata']['name']}", change)
