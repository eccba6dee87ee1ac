"""Policy objects to policies: the one way in, whatever the kind and wherever from."""

import msgspec

from cilia.model.errors import NotSupported, PolicyError
from cilia.model.rules import Policy, PolicyKey
from cilia.policy.syntax.cilium import CLUSTERWIDE, NAMESPACED, parse_cilium
from cilia.policy.syntax.context import Context
from cilia.policy.syntax.fields import Field
from cilia.policy.syntax.kubernetes import KIND, parse_kubernetes

__all__ = ["Context", "NotSupported", "PolicyError", "parse_policy", "policy_key"]

KINDS = {
    NAMESPACED: "cilium.io/v2",
    CLUSTERWIDE: "cilium.io/v2",
    KIND: "networking.k8s.io/v1",
}


def parse_policy(document: object, context: Context | None = None, source: str = "") -> Policy:
    """The policy that an object, as JSON or YAML gives it, writes.

    Args:
        document: The object.
        context: What its meaning depends on besides.
        source: Where it is from, as `PolicyKey.source`.

    Raises:
        PolicyError: It is not valid: which field, what is wrong with it, and the remedy.
            NotSupported when it is valid and asks for what is not enforced yet.
    """
    key = msgspec.structs.replace(policy_key(document), source=source)
    field = Field(str(key), "", document)
    parse = parse_kubernetes if key.kind == KIND else parse_cilium
    try:
        return parse(field, key, context or Context())
    except RecursionError:
        field.refuse("is nested too deeply")


def policy_key(document: object) -> PolicyKey:
    """Which policy an object is.

    Raises:
        PolicyError: Its kind, version, namespace or name is missing or wrong.
    """
    members = Field("policy", "", document).mapping()
    if "kind" not in members:
        Field("policy", "kind", None).refuse("is missing", f"write one of {', '.join(KINDS)}")
    kind = members["kind"].choice(KINDS)
    if "apiVersion" in members:
        members["apiVersion"].choice([KINDS[kind]])
    metadata = members["metadata"].mapping() if "metadata" in members else {}
    name = metadata["name"].text() if "name" in metadata else ""
    if not name:
        Field(kind, "metadata.name", None).refuse("is missing", "name the policy")
    namespace = metadata["namespace"].text() if "namespace" in metadata else ""
    if kind == CLUSTERWIDE:
        if namespace:
            Field(f"{kind} {name}", "metadata.namespace", namespace).refuse(
                "has no meaning for a cluster-wide policy", f"leave it out, or use {NAMESPACED}"
            )
        return PolicyKey(kind, "", name)
    return PolicyKey(kind, namespace or "default", name)
