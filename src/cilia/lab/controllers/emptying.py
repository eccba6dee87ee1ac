"""Empties a namespace that is being deleted, kind by kind, and then lets it go."""

import asyncio
import logging

from cilia.lab.controllers.cluster import NAMESPACES, Object
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)


async def empty_namespace(client: KubernetesClient, name: str) -> bool:
    """Deletes what is in a namespace; once nothing is left, removes its finalizer.

    Returns:
        True when the namespace was let go; False while something is in it.
    """
    left = sum(
        await asyncio.gather(
            *(_empty(client, path, name) for path in await _namespaced_paths(client))
        )
    )
    if left:
        return False
    namespace = await client.get(NAMESPACES.path("", name))
    if (namespace.get("spec") or {}).get("finalizers"):
        namespace["spec"]["finalizers"] = []
        await client.replace(f"{NAMESPACES.path('', name)}/finalize", namespace)
        log.info("namespace is empty and gone", extra={"namespace": name})
    return True


async def _empty(client: KubernetesClient, root: tuple[str, str], namespace: str) -> int:
    """Deletes all objects of one kind in a namespace; says how many were there."""
    collection = f"{root[0]}/namespaces/{namespace}/{root[1]}"
    found: list[Object] = (await client.get(collection)).get("items") or []
    for item in found:
        if not item["metadata"].get("deletionTimestamp"):
            try:
                await client.delete(f"{collection}/{item['metadata']['name']}")
            except ApiError as error:
                if not error.is_missing:
                    raise
    return len(found)


async def _namespaced_paths(client: KubernetesClient) -> list[tuple[str, str]]:
    """Root path and plural of every namespaced kind that can be listed and deleted."""
    groups = (await client.get("/apis")).get("groups") or []
    roots = ["/api/v1"] + [f"/apis/{one['preferredVersion']['groupVersion']}" for one in groups]
    found = []
    for root, listing in zip(
        roots, await asyncio.gather(*(client.get(root) for root in roots)), strict=True
    ):
        for kind in listing.get("resources") or []:
            deletable = {"list", "delete"} <= set(kind.get("verbs") or [])
            if kind.get("namespaced") and deletable and "/" not in kind["name"]:
                found.append((root, kind["name"]))
    return found
