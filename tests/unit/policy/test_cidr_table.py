"""A table of CIDR sets holds what was added and not removed, whatever kind a set is of."""

from hypothesis import given
from hypothesis import strategies as st

from cilia.model.cidrs import cidr_set, plain_cidr_set
from cilia.policy.cidr_table import CidrTable

SMALL = st.integers(0, 9).map(lambda n: plain_cidr_set([f"10.{n}.0.0/16", f"fd00:{n}::/32"]))
LARGE = st.integers(0, 3).map(
    lambda n: plain_cidr_set([f"10.{n}.{i & 255}.{i >> 8}/32" for i in range(300)])
)
HOLED = st.integers(0, 9).map(lambda n: cidr_set([(f"10.{n}.0.0/16", [f"10.{n}.1.0/24"])]))
CHANGES = st.lists(
    st.one_of(
        st.lists(SMALL | LARGE | HOLED, max_size=4),
        st.sets(st.integers(0, 20), max_size=4),
    ),
    max_size=8,
)


@given(CHANGES)
def test_it_holds_what_was_added_and_not_removed(changes):
    table, naive, following = CidrTable(), {}, 1
    for change in changes:
        if isinstance(change, list):
            added = dict(enumerate(change, following))
            following += len(added)
            table.add(added)
            naive |= added
        else:
            gone = [number for number in change if number in naive]
            table.remove(gone)
            naive = {number: cidrs for number, cidrs in naive.items() if number not in gone}
    assert table.numbers().tolist() == sorted(naive)
    assert [n for n in range(following) if n in table] == sorted(naive)
    keys, owner = table.plain()
    plain = {number: cidrs for number, cidrs in naive.items() if not len(cidrs.excluded)}
    assert sorted(zip(owner.tolist(), keys.tolist(), strict=True)) == sorted(
        (number, key) for number, cidrs in plain.items() for key in cidrs.keys.tolist()
    )
    assert dict(table.holed()) == {n: cidrs for n, cidrs in naive.items() if n not in plain}
    named = [key for cidrs in naive.values() for key in (*cidrs.keys, *cidrs.excluded)]
    assert sorted(table.named().tolist()) == sorted(named)
