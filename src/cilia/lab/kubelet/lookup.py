"""Fetching what pods name: ConfigMaps, Secrets, Services."""

from typing import Any

from cilia.lab.kubelet import volumes
from cilia.lab.kubelet.environment import ObjectLookup
from cilia.lab.kubelet.pod import Pod
from cilia.lab.kubelet.ports import Api
from cilia.wire.kubernetes import ApiError, ApiUnreachable

Object = dict[str, Any]
_PLURAL = {"configmap": "configmaps", "secret": "secrets"}


class Fetcher:
    """Fetches for one pod; what the API server last said serves while it is away."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._last: dict[str, Object | None] = {}

    async def objects(self, pod: Pod) -> ObjectLookup:
        """Every ConfigMap and Secret that the pod names and that exists.

        Raises:
            ApiUnreachable: The API server is away, and never said.
        """
        found = {}
        for kind, name in dict.fromkeys(volumes.references(pod)):
            path = f"/api/v1/namespaces/{self._namespace}/{_PLURAL[kind]}/{name}"
            known = await self._get(path)
            if known is not None:
                found[kind, name] = known
        return ObjectLookup(found)

    async def services(self) -> list[Object]:
        """Services that the pod's variables may tell of."""
        out: list[Object] = []
        for namespace in dict.fromkeys((self._namespace, "default")):
            listed = await self._get(f"/api/v1/namespaces/{namespace}/services")
            out += (listed or {}).get("items") or []
        return out

    async def _get(self, path: str) -> Object | None:
        try:
            self._last[path] = await self._api.get(path)
        except ApiUnreachable:
            if path not in self._last:
                raise
        except ApiError as error:
            if not error.is_missing:
                raise
            self._last[path] = None
        return self._last[path]
