"""Create, update and patch: what a write does before it reaches the store."""

from collections.abc import Callable
from typing import Any

from .apply import apply_patch, record_update
from .defaults import apply_defaults
from .errors import (
    MODIFIED,
    Json,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    not_found,
    unsupported_media,
)
from .objects import copy, desired, has_generation, keep_owned, name_suffix, stamp_new, with_version
from .options import WriteOptions
from .patch import json_patch, merge_patch
from .resources import Registry, Resource
from .schema import Decoder, object_schema
from .storage import Key, Store
from .strategic import strategic_merge
from .structural import default_values, prune
from .validation import validate
from .validation.policy import policy_mistakes, policy_warnings

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
# A kubelet registers its node with a status.
_STATUS_AT_BIRTH = frozenset({"nodes"})
_STATUS_METADATA = frozenset({"pods", "nodes"})


class Rest:
    """The writes of all resources. Every method is one atomic step."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry
        self.admit: Callable[[Resource, Json, Json | None], None] = lambda *_: None
        """Called with resource, new and old object right before each write."""

    def get(self, resource: Resource, key: Key) -> Json:
        """The object, shared with the store.

        Raises:
            StatusError: There is none (404).
        """
        item = self.store.get(resource.key, key)
        if item is None:
            raise not_found(resource.group, resource.plural, key[1])
        return with_version(item, resource)

    def create(self, resource: Resource, namespace: str, body: Any, options: WriteOptions) -> Json:
        """Writes a new object.

        Raises:
            StatusError: The object is malformed (400), breaks a rule (422), exists (409),
                or its namespace does not exist (404) or is going away (403).
        """
        item = self._decode(resource, body, options)
        metadata = item["metadata"]
        self._check_namespace(resource, item, namespace)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated_name(resource, namespace, metadata["generateName"])
        if resource.namespaced:
            self._require_namespace(resource, namespace, str(metadata.get("name", "")))
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        stamp_new(item, resource)
        if "status" in resource.subresources and resource.key not in _STATUS_AT_BIRTH:
            item.pop("status", None)
        self._complete(resource, item)
        validate(resource, item, None)
        key = (namespace, metadata["name"])
        if self.store.get(resource.key, key) is not None:
            raise already_exists(resource.group, resource.plural, key[1])
        return self._write(resource, item, None, options)

    def _generated_name(self, resource: Resource, namespace: str, prefix: Any) -> str:
        prefix = str(prefix)[: 63 - 5]
        name = prefix + name_suffix()
        while self.store.get(resource.key, (namespace, name)) is not None:
            name = prefix + name_suffix()
        return str(name)

    def update(
        self, resource: Resource, key: Key, body: Any, options: WriteOptions, part: str = ""
    ) -> Json:
        """Replaces an object, or its `part` ("status" …).

        Raises:
            StatusError: As `create`; also when the object changed in between (409).
        """
        old = self.get(resource, key)
        item = self._decode(resource, body, options)
        self._check_namespace(resource, item, key[0])
        name = item["metadata"].setdefault("name", key[1])
        if name != key[1]:
            raise bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({key[1]})"
            )
        return self._replace(resource, old, item, options, part)

    def patch(
        self,
        resource: Resource,
        key: Key,
        kind: str,
        body: Any,
        options: WriteOptions,
        part: str = "",
    ) -> Json:
        """Applies a patch of one of the four kinds; an apply patch may create the object.

        Raises:
            StatusError: As `update`; also when the patch is malformed (400) or of an
                unknown kind (415), or an apply conflicts with other managers (409).
        """
        if kind == APPLY_PATCH:
            return self._apply(resource, key, body, options, part)
        old = self.get(resource, key)
        schema = object_schema(resource.schema, resource.open_schema)
        if kind == JSON_PATCH:
            patched = json_patch(old, body)
        elif kind == MERGE_PATCH:
            patched = merge_patch(copy(old), _mapping(body))
        elif kind == STRATEGIC_PATCH and not resource.is_defined:
            patched = copy(strategic_merge(old, _mapping(body), schema))
        else:
            raise unsupported_media(kind, f"{JSON_PATCH}, {MERGE_PATCH}, {APPLY_PATCH}")
        if not isinstance(patched, dict):
            raise bad_request("the patch leaves no object")
        return self.update(resource, key, patched, options, part)

    def _apply(
        self, resource: Resource, key: Key, body: Any, options: WriteOptions, part: str
    ) -> Json:
        config = self._decode(resource, _mapping(body), options)
        self._check_namespace(resource, config, key[0])
        config["metadata"].setdefault("name", key[1])
        if config["metadata"]["name"] != key[1]:
            raise bad_request("the name of the object does not match the name on the URL")
        schema = object_schema(resource.schema, resource.open_schema)
        old = self.store.get(resource.key, key)
        if old is None:
            item, managed = apply_patch(None, config, schema, options, part)
            item["metadata"]["managedFields"] = managed
            return self.create(resource, key[0], item, options)
        old = with_version(old, resource)
        item, managed = apply_patch(old, config, schema, options, part)
        item["metadata"]["managedFields"] = managed
        return self._replace(resource, old, copy(item), options, part)

    def _replace(
        self, resource: Resource, old: Json, item: Json, options: WriteOptions, part: str
    ) -> Json:
        metadata = item["metadata"]
        revision = metadata.get("resourceVersion")
        if revision and revision != old["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, metadata["name"], MODIFIED)
        uid = metadata.get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {old['metadata']['uid']}"
            )
            raise conflict(resource.group, resource.plural, metadata["name"], why)
        item = _join(resource, old, item, part)
        keep_owned(item, old)
        self._complete(resource, item)
        if has_generation(resource) and desired(item) != desired(old):
            item["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        record_update(
            old, item, object_schema(resource.schema, resource.open_schema), options, part
        )
        if item == old:
            return old
        validate(resource, item, old)
        return self._write(resource, item, old, options)

    def _write(
        self, resource: Resource, item: Json, old: Json | None, options: WriteOptions
    ) -> Json:
        self.admit(resource, item, old)
        if old is None or desired(item) != desired(old):
            options.warnings.extend(policy_warnings(item))
        if options.dry_run:
            item["metadata"].setdefault("resourceVersion", "")
            return item
        if old is not None and is_finished(resource, item):
            return self.store.delete(resource.key, key_of(item))
        if resource.storage_version:
            item["apiVersion"] = f"{resource.group}/{resource.storage_version}"
        return with_version(self.store.put(resource.key, item), resource)

    def _decode(self, resource: Resource, body: Any, options: WriteOptions) -> Json:
        """A private copy of the body, of the resource's kind, without unknown fields."""
        item = _mapping(body)
        item.setdefault("apiVersion", resource.api_version)
        item.setdefault("kind", resource.kind)
        if item["apiVersion"] != resource.api_version or item["kind"] != resource.kind:
            raise bad_request(
                f"the API version and kind in the data ({item['apiVersion']}, {item['kind']}) do "
                f"not match the expected ones ({resource.api_version}, {resource.kind})"
            )
        decoder = Decoder(resource.kind, resource.version)
        if resource.is_defined:
            meta = object_schema("io.k8s.api.core.v1.Secret", None)
            shallow = {"metadata": item.get("metadata") or {}}
            item["metadata"] = decoder.object(shallow, meta)["metadata"]
            item = copy(item)
            prune(item, resource.open_schema or {}, decoder.unknown)
        else:
            schema = object_schema(resource.schema, resource.open_schema)
            item = decoder.object(item, schema)
            item = copy(item) if not resource.schema else item
        item.setdefault("metadata", {})
        if decoder.unknown and options.validation != "Ignore":
            texts = [f'unknown field "{path}"' for path in decoder.unknown]
            texts += policy_mistakes(_mapping(body))
            if options.validation == "Strict":
                raise bad_request(
                    f'{resource.kind} in version "{resource.version}" cannot be handled as a '
                    f"{resource.kind}: strict decoding error: {', '.join(texts)}"
                )
            options.warnings.extend(texts)
        return item

    def _complete(self, resource: Resource, item: Json) -> None:
        if resource.is_defined:
            default_values(item, resource.open_schema or {})
        else:
            apply_defaults(resource, item)

    def _check_namespace(self, resource: Resource, item: Json, namespace: str) -> None:
        metadata = item["metadata"]
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request(
                f"the namespace of the provided object ({metadata['namespace']}) does not match "
                f"the namespace sent on the request ({namespace})"
            )

    def _require_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        home = self.store.get("namespaces", ("", namespace))
        if home is None:
            raise not_found("", "namespaces", namespace)
        if "deletionTimestamp" in home["metadata"]:
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise forbidden(
                resource.group,
                resource.plural,
                name,
                f"unable to create new content in namespace {namespace} because it is being "
                "terminated",
                [cause],
            )


def key_of(item: Json) -> Key:
    """The store's key of an object."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _mapping(body: Any) -> Json:
    if not isinstance(body, dict):
        raise bad_request("the body of the request must be an object")
    return body


def _join(resource: Resource, old: Json, item: Json, part: str) -> Json:
    """What a write through the main path or through a subresource may change."""
    if part == "status":
        joined = old | {"status": item["status"]} if "status" in item else copy(old)
        metadata = dict(old["metadata"])
        if "managedFields" in item["metadata"]:
            metadata["managedFields"] = item["metadata"]["managedFields"]
        if resource.key in _STATUS_METADATA:
            for name in ("labels", "annotations"):
                if name in item["metadata"]:
                    metadata[name] = item["metadata"][name]
        return copy(joined | {"metadata": metadata})
    if part == "finalize":
        return copy(old | {"spec": item.get("spec", {})})
    if "status" in resource.subresources:
        if "status" in old:
            item["status"] = copy(old["status"])
        else:
            item.pop("status", None)
    return item


def is_finished(resource: Resource, item: Json) -> bool:
    """Whether a deleted object waits for nobody any more."""
    metadata = item["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if resource.key == "namespaces":
        return not (item.get("spec") or {}).get("finalizers")
    return bool(metadata.get("deletionGracePeriodSeconds", 0) == 0)
