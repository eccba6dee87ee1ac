"""The cluster's identities as CiliumIdentity objects.

Source: https://docs.cilium.io/en/stable/network/kubernetes/concepts/ and the
CustomResourceDefinition in agent/crds/ciliumidentities.json.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec

from cilia.identity.ports import Listed, NumberTaken, Removed, StoreAway, Stored, StoredIdentity
from cilia.model.labels import Label, LabelSet, label_set, parse_label
from cilia.wire.kubernetes import (
    ApiError,
    ApiUnreachable,
    Changed,
    Gone,
    KubernetesClient,
    Synced,
)

PATH = "/apis/cilium.io/v2/ciliumidentities"
UNUSED = "cilia.io/unused-since"


class _Metadata(msgspec.Struct):
    name: str
    uid: str = ""
    resourceVersion: str = ""
    annotations: dict[str, str] | None = None


class CiliumIdentity(msgspec.Struct):
    """What of the object we read."""

    metadata: _Metadata
    labels: dict[str, str] = msgspec.field(name="security-labels", default_factory=dict)


def from_object(item: CiliumIdentity) -> StoredIdentity | None:
    """Returns the identity; None for an object whose name is no number."""
    if not item.metadata.name.isdecimal():
        return None
    mark = (item.metadata.annotations or {}).get(UNUSED, "")
    return StoredIdentity(
        number=int(item.metadata.name),
        labels=label_set(
            Label(*_split(key), value) if ":" in key else Label("unspec", key, value)
            for key, value in item.labels.items()
        ),
        uid=item.metadata.uid,
        version=item.metadata.resourceVersion,
        unused_since=float(mark) if mark.replace(".", "", 1).isdecimal() else 0.0,
    )


def to_object(number: int, labels: LabelSet) -> dict[str, Any]:
    """Returns the CiliumIdentity of a label set."""
    parsed = [parse_label(label) for label in labels]
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {
            "name": str(number),
            # A copy that kubectl can select by; what Kubernetes refuses as a label stays out.
            "labels": {
                label.key: label.value
                for label in parsed
                if label.source == "k8s" and _is_object_label(label)
            },
        },
        "security-labels": {label.keyed: label.value for label in parsed},
    }


class KubernetesIdentities:
    """An IdentityStore on an API server."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def create(self, number: int, labels: LabelSet) -> StoredIdentity:
        """Takes a number for a label set."""
        try:
            try:
                made = await self._client.create(PATH, to_object(number, labels))
            except ApiError as error:
                if not error.is_conflict:
                    raise
                made = await self._client.get(f"{PATH}/{number}")
        except (ApiUnreachable, ApiError) as error:
            raise StoreAway(f"create identity {number}: {error}") from error
        stored = from_object(msgspec.convert(made, CiliumIdentity))
        if stored is None or stored.labels != labels:
            raise NumberTaken(f"identity {number} belongs to another label set")
        return stored

    async def mark_unused(self, identity: StoredIdentity, since: float) -> None:
        """Sets or clears the mark, unless somebody wrote the object meanwhile."""
        value = f"{since:.0f}" if since else None
        body = {
            "metadata": {
                "resourceVersion": identity.version,
                "annotations": {UNUSED: value},
            }
        }
        try:
            await self._client.patch(f"{PATH}/{identity.number}", body)
        except ApiError as error:
            if not (error.is_conflict or error.is_missing):
                raise StoreAway(f"mark identity {identity.number}: {error}") from error
        except ApiUnreachable as error:
            raise StoreAway(str(error)) from error

    async def remove(self, identity: StoredIdentity) -> None:
        """Deletes the object, unless somebody wrote it meanwhile."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": identity.uid, "resourceVersion": identity.version},
        }
        try:
            await self._client.delete(f"{PATH}/{identity.number}", body)
        except ApiError as error:
            if not (error.is_conflict or error.is_missing):
                raise StoreAway(f"delete identity {identity.number}: {error}") from error
        except ApiUnreachable as error:
            raise StoreAway(str(error)) from error

    async def follow(self) -> AsyncIterator[Listed | Stored | Removed]:
        """Yields all identities and then their changes, for ever."""
        events = cast(Any, self._client.list_watch(PATH, CiliumIdentity))
        async with aclosing(events):
            async for event in events:
                match event:
                    case Synced(items):
                        found = (from_object(item) for item in items)
                        yield Listed(tuple(each for each in found if each is not None))
                    case Changed(item):
                        if (one := from_object(item)) is not None:
                            yield Stored(one)
                    case Gone(item) if item.metadata.name.isdecimal():
                        yield Removed(int(item.metadata.name))


def _split(key: str) -> tuple[str, str]:
    source, _, rest = key.partition(":")
    return source, rest


def _is_object_label(label: Label) -> bool:
    prefix, _, name = label.key.rpartition("/")
    return 0 < len(name) <= 63 and len(prefix) <= 253 and len(label.value) <= 63
