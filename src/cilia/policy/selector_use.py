"""What people see of a selector that is in use."""

import msgspec

from cilia.model.rules import PolicyKey


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
