"""What people see of a selector that is in use."""

import msgspec

from cilia.model.rules import PolicyKey
from cilia.policy.claim_table import ClaimTable
from cilia.policy.peers import PeerTable
from cilia.policy.resolution import Selector
from cilia.policy.subjects import SubjectTable


class SelectorUse(msgspec.Struct, frozen=True):
    """One selector, with what it selects and whose it is."""

    selector: str
    """As rules write it: requirements, prefixes, or a named port."""
    policies: tuple[PolicyKey, ...]
    """The policies that use it, in order."""
    users: int
    """How many claims of their rules need it."""
    identities: tuple[int, ...]
    """The identities that it selects, in order."""


def selector_uses(
    claims: ClaimTable, subjects: SubjectTable, peers: PeerTable
) -> list[SelectorUse]:
    """Every selector in use."""
    policies: dict[Selector, set[PolicyKey]] = {}
    for number in claims.numbers():
        for selector in {one for claim in claims.of(number) for one in claim.needs}:
            policies.setdefault(selector, set()).add(subjects.specs[number].policy)
    return [
        SelectorUse(
            str(one),
            tuple(sorted(policies.get(one, ()))),
            claims.users[one],
            tuple(peers.selected(one)),
        )
        for one in peers.selectors()
    ]
