"""The rules behind a flow's verdict, as `--why` adds them.

A policy's labels say what `flow.Policy` has no field for: `cilia:rule=` the path of the rule
in its policy, `cilia:place=` the file or object and the line where it is written,
`cilia:verdict=` what the rule says.
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
    said: dict[str, list[Json]] = {}
    for word, one in policies(flow):
        rule = _rule(one)
        if rule not in said.setdefault(word, []):
            said[word].append(rule)
    return "".join(because({"because": word, "policies": rules}) for word, rules in said.items())


def policies(flow: Flow) -> Iterator[tuple[str, Policy]]:
    """Every policy that had a say, and how: denied, closed or allowed by it."""
    for field, word in WORDS:
        for one in getattr(flow, field):
            is_closed = word == "denied by" and is_default_deny(flow, one)
            yield ("closed by" if is_closed else word), one


def is_default_deny(flow: Flow, one: Policy) -> bool:
    """Whether this policy only allowed nothing of the kind; no rule of it denies."""
    said = _labels(one).get("verdict")
    if said:
        return said == "default-deny"
    kind = flow.event_type
    return (kind.type == DROP and kind.sub_type == DEFAULT_DENY) or (
        kind.type == POLICY_VERDICT and flow.policy_match_type == 0
    )


def policy_name(one: Policy) -> str:
    """`CiliumNetworkPolicy default/rule1`."""
    where = f"{one.namespace}/" if one.namespace else ""
    return f"{one.kind} {where}{one.name}".strip()


def _labels(one: Policy) -> dict[str, str]:
    """Our own labels, without their source."""
    pairs = (
        label.removeprefix(LABEL).partition("=") for label in one.labels if label.startswith(LABEL)
    )
    return {key: value for key, _, value in pairs}


def _rule(one: Policy) -> Json:
    labels = _labels(one)
    return {
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "path": labels.get("rule", ""),
        "place": labels.get("place", ""),
    }
