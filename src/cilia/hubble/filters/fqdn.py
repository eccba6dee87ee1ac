"""Fields about DNS names: what the other side's pod called an address."""

from collections.abc import Sequence
from ipaddress import ip_address

import numpy as np
from numpy.typing import NDArray

from cilia.hubble.columns import halves_of
from cilia.hubble.filters.patterns import name_pattern
from cilia.hubble.filters.terms import Mask, Scene, Test
from cilia.hubble.heard import HeardNames, names_of
from cilia.hubble.store import Rows

ODD = np.uint64(0x9E3779B97F4A7C15)


def fqdn(side: str, values: Sequence[str], scene: Scene) -> Test:
    """Patterns of which one must fit one of the names."""
    patterns = [name_pattern(f"{side}_fqdn", value) for value in values]

    def fits(names: Sequence[str]) -> bool:
        return any(pattern.fullmatch(name) for pattern in patterns for name in names)

    def test(rows: Rows) -> Mask:
        heard: HeardNames = scene.store.heard
        found = np.zeros(len(rows), bool)
        if len(heard):
            wanted = {address for address, names in heard.all() if fits(names)}
            keys = _keys(np.array([_raw(address) for address in wanted], "V16"))
            for at in np.flatnonzero(np.isin(_keys(rows[side]), keys)).tolist():
                found[at] = fits(names_of(heard, rows, at, side))
        return found

    return test


def _keys(addresses: NDArray[np.void]) -> NDArray[np.uint64]:
    """Equal for equal addresses; for others nearly never, so that few are looked at closely."""
    halves = halves_of(addresses)
    return np.asarray(halves[:, 0] * ODD ^ halves[:, 1], "u8")


def _raw(address: str) -> bytes:
    parsed = ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed
