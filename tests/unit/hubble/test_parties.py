"""Parties that a pod makes up."""

import numpy as np

from cilia.hubble.parties import Parties
from unit.hubble.made_records import V4, XWING, KnownNames, records

MANY = 5_000
DROP, INVALID_SOURCE = 1, 132


def forged(count: int) -> np.ndarray:
    """Drops of packets that the xwing sent under other names."""
    rows = records(count, type=DROP, subtype=INVALID_SOURCE)
    for at in range(count):
        rows["source"][at] = np.void(V4 + bytes((198, 18, at >> 8, at & 255)))
    return rows


def test_made_up_sources_make_no_parties_of_their_own() -> None:
    parties = Parties()
    real = parties.numbers(records(1), "source")
    numbers = parties.numbers(forged(MANY), "source")
    parties.join(KnownNames())

    assert len(parties.rows) == 2
    assert len(set(numbers.tolist())) == 1
    liar, honest = parties.rows[numbers[0]], parties.rows[real[0]]
    assert (liar.namespace, liar.pod, liar.address) == ("default", "xwing", "")
    assert honest.address == f"{XWING[12]}.{XWING[13]}.{XWING[14]}.{XWING[15]}"


def test_a_made_up_source_bears_its_pods_name_where_addresses_are_known() -> None:
    class Addressed(KnownNames):
        def endpoint(self, number: int):  # type: ignore[no-untyped-def]  # as its parent
            found = super().endpoint(number)
            return found and type(found)(found.pod, ("10.0.1.5",))

    parties = Parties()
    (number,) = parties.numbers(forged(1), "source")
    parties.join(Addressed())
    assert parties.rows[number].pod == "xwing"
