"""Warnings about policies, told to whoever writes them.

An API server knows nothing of what agents make of a policy; with this, kubectl says at once
what the object's conditions would say a moment later.

Source:
    https://kubernetes.io/docs/reference/using-api/deprecation-guide/ (Warning headers)
"""

from cilia.lab.apiserver.errors import Json
from cilia.model.errors import NotSupported, PolicyError
from cilia.policy.sources import KINDS, parse_policy
from cilia.policy.suspicions import suspicions_of
from cilia.policy.syntax.context import Context

_LENIENT = Context(nodes_by_label=True)
"""What depends on an agent's settings is no mistake."""


def policy_mistakes(item: Json) -> list[str]:
    """Why a policy would be refused by agents, in their words; nothing of other kinds."""
    if KINDS.get(item.get("kind", "")) != item.get("apiVersion"):
        return []
    try:
        parse_policy(item, _LENIENT)
    except NotSupported:
        return []
    except PolicyError as error:
        return [str(error)]
    return []


def policy_warnings(item: Json) -> list[str]:
    """What is wrong or odd about a policy; nothing about objects of other kinds."""
    if KINDS.get(item.get("kind", "")) != item.get("apiVersion"):
        return []
    try:
        policy = parse_policy(item, _LENIENT)
    except PolicyError as error:
        return [f"agents will refuse this policy and not enforce it: {error}"]
    return [str(odd) for odd in suspicions_of(item, policy)]
