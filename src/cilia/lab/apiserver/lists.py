"""Lists: selection, pages, and the three shapes of the answer."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

import msgspec

from .errors import Json, bad_request
from .negotiation import Shape
from .objects import with_version
from .resources import Resource
from .rest import key_of
from .selectors import Match, field_matcher, label_matcher
from .storage import Store
from .tables import partial_metadata, table


def matchers(resource: Resource, query: Mapping[str, str]) -> list[Match]:
    """The selectors of a request.

    Raises:
        StatusError: One of them is malformed or not supported (400).
    """
    known = resource.fields | frozenset(resource.selectable)
    found = [
        label_matcher(query.get("labelSelector", "")),
        field_matcher(query.get("fieldSelector", ""), known),
    ]
    return [match for match in found if match is not None]


def selected(
    store: Store, resource: Resource, namespace: str, query: Mapping[str, str], name: str = ""
) -> list[Json]:
    """The objects that a list or a collection's deletion means, shared with the store."""
    tests = matchers(resource, query)
    return [
        with_version(item, resource)
        for item in store.items(resource.key, namespace)
        if all(test(item) for test in tests) and (not name or item["metadata"]["name"] == name)
    ]


def answer(
    store: Store, resource: Resource, namespace: str, query: Mapping[str, str], shape: Shape
) -> Json:
    """The body of a list's answer.

    Raises:
        StatusError: A selector, limit or continue token is malformed (400).
    """
    items, metadata = _page(selected(store, resource, namespace, query), query)
    metadata = {"resourceVersion": str(store.revision)} | metadata
    if shape.kind == "Table":
        include = query.get("includeObject", "Metadata")
        return table(resource, items, metadata=metadata, include=include)
    if shape.kind:
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": [partial_metadata(item) for item in items],
        }
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "items": items,
    }


def _page(items: list[Json], query: Mapping[str, str]) -> tuple[list[Json], Json]:
    """One page: the objects after the token's, at most `limit`; pages see later changes."""
    if token := query.get("continue"):
        try:
            after = msgspec.json.decode(urlsafe_b64decode(token), type=tuple[str, str])
        except ValueError as error:
            raise bad_request("continue key is not valid") from error
        items = [item for item in items if key_of(item) > after]
    limit = query.get("limit", "0") or "0"
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 19):
        raise bad_request(f"limit: Invalid value: {limit!r}: must be a number")
    if not int(limit) or len(items) <= int(limit):
        return items, {}
    page = items[: int(limit)]
    token = urlsafe_b64encode(msgspec.json.encode(key_of(page[-1]))).decode()
    return page, {"continue": token, "remainingItemCount": len(items) - len(page)}
