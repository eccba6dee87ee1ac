"""What a cluster would decide if some specs read otherwise, beside the rows that it has.

A spec that loses or widens a rule hardly ever needs a selector that is not in use already. So
classes stay as they are, and only rows of the endpoints concerned are made, for the peers asked
about.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager

import msgspec

from cilia.model.labels import Network
from cilia.model.rules import Spec
from cilia.policy.contents import content_of
from cilia.policy.decision import Decider, Peer
from cilia.policy.delta import Assign, Assignment, DeleteRows, Delta, WriteRows, joined
from cilia.policy.numbers import PolicyNumber

Place = tuple[Peer, Network | None]
"""A peer, and where it is, should its address have a class of its own."""
_LAST_POLICY = 0xFFFFFFFF
"""Policy numbers of suppositions count down from here, so that they are nobody else's."""


def can_be_supposed(decider: Decider, instead: Iterable[Spec]) -> bool:
    """False if specs need selectors that are not in use.

    A rule for a named port that no pod has needs none, until it is for any port.
    """
    engine = decider.engine
    claims = (claim for spec in instead for claim in engine.claims.resolved(spec))
    return all(engine.peers.has(selector) for claim in claims for selector in claim.needs)


@contextmanager
def supposed(
    decider: Decider, instead: Mapping[int, Spec], asked: Mapping[int, Set[Place]]
) -> Iterator[None]:
    """Decides, within, as if some specs read otherwise; afterwards all is as it was.

    Args:
        decider: Has committed all changes of its engine.
        instead: By number, the specs that read otherwise: with the same subject, and such that
            they `can_be_supposed`.
        asked: The endpoints that will be asked about, and with which peers: for all others
            the answers are wrong.
    """
    engine, table = decider.engine, decider.table
    before = {endpoint: engine.assigned[endpoint] for endpoint in asked}
    alike: dict[int, list[int]] = {}
    for endpoint, assignment in before.items():
        alike.setdefault(assignment.policy, []).append(endpoint)
    after: dict[int, Assignment] = {}
    rows = []
    for place, endpoints in enumerate(alike.values()):
        # Endpoints with one policy number have the same rules, so they have them afterwards.
        book = engine.rulebook(engine.endpoints[endpoints[0]], instead)
        content = content_of(book, engine.provenance)
        policy = PolicyNumber(_LAST_POLICY - place, content, engine.templates)
        places = set().union(*(asked[endpoint] for endpoint in endpoints))
        for number in _classes(decider, places):
            policy.add_class(number, engine.peers.classes.selectors_of[number])
        rows.append(policy.rows(engine.revision))
        ingress, egress = content.enforced
        for endpoint in endpoints:
            after[endpoint] = msgspec.structs.replace(
                before[endpoint],
                policy=policy.number,
                ingress_enforced=ingress,
                egress_enforced=egress,
            )
    made = joined(rows)
    table.apply(Delta(engine.revision, (WriteRows(made), Assign(after))))
    try:
        yield
    finally:
        table.apply(Delta(engine.revision, (Assign(before), DeleteRows(made))))


def _classes(decider: Decider, places: Iterable[Place]) -> set[int]:
    return {decider.table.class_of(peer, at) for peer, at in places} - {0}
