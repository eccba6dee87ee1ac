"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.

Source: https://docs.cilium.io/en/stable/security/policy/language/ and
https://docs.cilium.io/en/stable/network/kubernetes/policy/
"""

import msgspec

from cilia.model.errors import NotSupported
from cilia.model.ports import PortMatch
from cilia.model.rules import Direction, Entry, Peers, Policy, PolicyKey, Spec
from cilia.policy.syntax.context import Context
from cilia.policy.syntax.fields import Field, require_one
from cilia.policy.syntax.peers import PeerScope, PeerSyntax
from cilia.policy.syntax.ports import PortSyntax
from cilia.policy.syntax.selectors import subject_selector

NAMESPACED = "CiliumNetworkPolicy"
CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"

_SPEC = (
    "endpointSelector",
    "nodeSelector",
    "ingress",
    "egress",
    "ingressDeny",
    "egressDeny",
    "labels",
    "enableDefaultDeny",
    "description",
    "log",
)
_LISTS = (
    ("ingress", Direction.INGRESS, False),
    ("ingressDeny", Direction.INGRESS, True),
    ("egress", Direction.EGRESS, False),
    ("egressDeny", Direction.EGRESS, True),
)
_PEERS = ["Endpoints", "Requires", "CIDR", "CIDRSet", "Entities", "Nodes", "Groups"]
_EGRESS_PEERS = (*_PEERS, "Services", "FQDNs")
_LOG_LENGTH = 32


def parse_cilium(document: Field, key: PolicyKey, context: Context) -> Policy:
    """The policy that an object writes.

    Raises:
        PolicyError: It is not valid; NotSupported if it is, and cannot be enforced yet.
    """
    members = document.mapping(("apiVersion", "kind", "metadata", "spec", "specs", "status"))
    specs = [members["spec"]] if "spec" in members else []
    specs += members["specs"].items() if "specs" in members else []
    if not specs:
        document.refuse("has neither spec nor specs", "write what it allows below spec")
    parser = _Parser(key, context)
    parsed = tuple(parser.spec(field) for field in specs)
    if parser.unsupported:
        raise parser.unsupported[0]
    description = " ".join(text for _, text in parsed if text)
    return Policy(key, tuple(spec for spec, _ in parsed), description)


class _Parser:
    """Reads the specs of one policy."""

    def __init__(self, key: PolicyKey, context: Context) -> None:
        self.unsupported: list[NotSupported] = []
        self._key = key
        self._scope = PeerScope(
            namespace=key.namespace,
            cluster=context.cluster,
            local_only=context.default_local_cluster,
            by_node=context.nodes_by_label,
        )

    def spec(self, field: Field) -> tuple[Spec, str]:
        """One spec and its description."""
        members = field.mapping(_SPEC)
        form = require_one(field, members, ("endpointSelector", "nodeSelector"))
        if form == "nodeSelector" and self._key.kind == NAMESPACED:
            members[form].refuse("is for cluster-wide policies only", "use endpointSelector")
        subject = subject_selector(members[form], self._key.namespace)
        if form == "nodeSelector":
            self.unsupported.append(members[form].not_supported("host policies are"))
        scope = msgspec.structs.replace(self._scope, of_init=subject.has_key("reserved:init"))
        entries = tuple(
            self._entry(item, scope, direction, index, deny=deny)
            for name, direction, deny in _LISTS
            if name in members
            for index, item in enumerate(members[name].items())
        )
        if not entries:
            field.refuse(
                "has no rules", "write ingress or egress; `ingress: [{}]` closes all of it"
            )
        _check_labels(members)
        touched = {entry.direction for entry in entries}
        log = _log(members["log"]) if "log" in members else ""
        closes = _closes(members, touched)
        touches = tuple(d in touched or closes[d] for d in Direction)
        description = members["description"].text() if "description" in members else ""
        spec = Spec(self._key, field.path, subject, closes, (touches[0], touches[1]), entries, log)
        return spec, description

    def _entry(
        self, item: Field, scope: PeerScope, direction: Direction, index: int, *, deny: bool
    ) -> Entry:
        egress = direction is Direction.EGRESS
        head = "to" if egress else "from"
        kinds = {head + kind: kind for kind in (_EGRESS_PEERS if egress else _PEERS)}
        if deny:
            kinds.pop("toFQDNs", None)
        also = ("toPorts", "icmps") if deny else ("toPorts", "icmps", "authentication")
        members = item.mapping((*kinds, *also))
        peers = self._peers(item, members, kinds, scope)
        ports = self._ports(item, members, deny=deny, egress=egress)
        if "authentication" in members:
            self._authentication(members["authentication"])
        # A list with nothing in it is no list: such an entry only closes its direction.
        if peers is None and ports is None and not any(name in members for name in kinds):
            peers = Peers()
        return Entry(direction, deny, item.path, index, peers, ports)

    def _peers(
        self, item: Field, members: dict[str, Field], kinds: dict[str, str], scope: PeerScope
    ) -> Peers | None:
        present = [name for name in kinds if name in members]
        filled = [name for name in present if members[name].items()]
        if len(filled) > 1:
            item.refuse(
                f"combining {filled[0]} and {filled[1]} is not supported yet",
                "write an entry for each",
            )
        syntax = PeerSyntax(scope)
        found: Peers | None = Peers() if present else None
        for name in present:
            parsed = syntax.peers(kinds[name], members[name])
            if name in filled:
                found = parsed
        self.unsupported += syntax.unsupported
        return found

    def _ports(
        self, item: Field, members: dict[str, Field], *, deny: bool, egress: bool
    ) -> tuple[PortMatch, ...] | None:
        """None: everything."""
        syntax = PortSyntax(deny=deny, egress=egress)
        ports = syntax.ports(members["toPorts"]) if "toPorts" in members else ()
        icmps = syntax.icmps(members["icmps"]) if "icmps" in members else ()
        if ports and icmps:
            item.refuse("has both toPorts and icmps", "write an entry for each")
        self.unsupported += syntax.unsupported
        return ports or icmps or None

    def _authentication(self, field: Field) -> None:
        members = field.mapping(("mode",))
        if "mode" not in members:
            field.refuse("has no mode", "write disabled, required or test-always-fail")
        mode = members["mode"].choice(("disabled", "required", "test-always-fail"))
        if mode != "disabled":
            self.unsupported.append(field.not_supported("mutual authentication is"))


def _closes(members: dict[str, Field], touched: set[Direction]) -> tuple[bool, bool]:
    closes = {direction: direction in touched for direction in Direction}
    if "enableDefaultDeny" in members:
        flags = members["enableDefaultDeny"].mapping(("ingress", "egress"))
        for direction, name in ((Direction.INGRESS, "ingress"), (Direction.EGRESS, "egress")):
            if name in flags:
                closes[direction] = flags[name].flag()
    return closes[Direction.INGRESS], closes[Direction.EGRESS]


def _check_labels(members: dict[str, Field]) -> None:
    for item in members["labels"].items() if "labels" in members else []:
        parts = item.mapping(("key", "value", "source"))
        if "key" not in parts:
            item.refuse("has no key")
        for part in parts.values():
            part.text()


def _log(field: Field) -> str:
    members = field.mapping(("value",))
    if "value" not in members:
        return ""
    text = members["value"].text()
    if len(text) > _LOG_LENGTH or not text.isprintable():
        members["value"].refuse(f"is not up to {_LOG_LENGTH} printable characters")
    return text
