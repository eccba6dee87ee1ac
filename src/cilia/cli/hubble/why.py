"""The rules behind a flow's verdict, as `--why` adds them.

A policy's labels say what `flow.Policy` has no field for: `cilia:rule=` the path of the rule
in its policy, `cilia:place=` the file or object and the line where it is written.
"""

from collections.abc import Iterator

from cilia.cli.events import Json, because
from cilia.hubble.proto.flow.flow_pb2 import Flow, Policy

WORDS = (
    ("ingress_denied_by", "denied by"),
    ("egress_denied_by", "denied by"),
    ("ingress_allowed_by", "allowed by"),
    ("egress_allowed_by", "allowed by"),
)
DEFAULT_DENY = 133
DROP, POLICY_VERDICT = 1, 5
LABEL = "cilia:"


def reason(flow: Flow) -> str:
    """` | closed by CiliumNetworkPolicy default/rule1 (cnp/default/rule1:14)`; empty without."""
    found = dict.fromkeys(
        because({"because": word, "policies": [_policy(one)]}).removeprefix(f" | {word} ")
        for word, one in policies(flow)
    )
    word = next((word for word, _ in policies(flow)), "")
    return f" | {word} {', '.join(found)}" if found else ""


def policies(flow: Flow) -> Iterator[tuple[str, Policy]]:
    """Every policy that had a say, and how: denied, closed or allowed by it."""
    for field, word in WORDS:
        for one in getattr(flow, field):
            yield ("closed by" if word == "denied by" and is_default_deny(flow) else word), one


def is_default_deny(flow: Flow) -> bool:
    """Whether no rule denied this: none allowed it."""
    kind = flow.event_type
    return (kind.type == DROP and kind.sub_type == DEFAULT_DENY) or (
        kind.type == POLICY_VERDICT and flow.policy_match_type == 0
    )


def policy_name(one: Policy) -> str:
    """`CiliumNetworkPolicy default/rule1`."""
    where = f"{one.namespace}/" if one.namespace else ""
    return f"{one.kind} {where}{one.name}".strip()


def _policy(one: Policy) -> Json:
    labels = dict(
        label.removeprefix(LABEL).split("=", 1)
        for label in one.labels
        if label.startswith(LABEL) and "=" in label
    )
    return {
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "path": labels.get("rule", ""),
        "place": labels.get("place", ""),
    }
