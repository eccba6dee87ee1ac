"""Which CIDR sets cover a prefix: the running sums say what looking at each would."""

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.model.cidrs import cidr_set
from cilia.model.prefixes import PREFIX_KEY, parse_prefixes, prefix_of_key
from cilia.policy.cidr_table import CidrTable
from cilia.policy.coverage import Coverage

FOUR = st.builds(
    lambda a, b, bits: str(ipaddress.ip_network(((10 << 24) + (a << 16) + b, bits), strict=False)),
    st.integers(0, 3), st.sampled_from([0, 1 << 8, 255 << 8, 1 << 15]), st.integers(7, 26),
)  # fmt: skip
SIX = st.builds(
    lambda a, bits: str(ipaddress.ip_network(((0xFD << 120) + (a << 112), bits), strict=False)),
    st.integers(0, 3), st.integers(6, 20),
)  # fmt: skip
ITEMS = st.lists(st.tuples(FOUR | SIX, st.lists(FOUR | SIX, max_size=4)), max_size=4)


@given(st.lists(ITEMS, max_size=4), st.lists(FOUR | SIX, max_size=4), st.booleans())
def test_each_prefix_is_covered_by_the_sets_that_contain_it(found, extra, v4):
    sets = {number: cidr_set(items) for number, items in enumerate(found, 10)}
    coverage = Coverage(CidrTable(sets), parse_prefixes(extra), v4=v4)
    for key, group in zip(coverage.keys.tolist(), coverage.group.tolist(), strict=True):
        prefix = prefix_of_key(key)
        expected = {number for number, cidrs in sets.items() if cidrs.covers(prefix)}
        assert coverage.sets[group] == expected, prefix


def covered(items, *asked):
    coverage = Coverage(CidrTable({1: cidr_set(items)}), parse_prefixes(asked), v4=True)
    places = np.searchsorted(coverage.keys, parse_prefixes(asked).astype(PREFIX_KEY))
    return [bool(coverage.sets[group]) for group in coverage.group[places].tolist()]


def test_an_item_goes_on_behind_its_exception():
    items = [("10.0.0.0/8", ["10.1.0.0/16"])]
    assert covered(items, "10.0.0.0/16", "10.1.0.0/24", "10.2.0.0/16") == [True, False, True]


def test_nested_exceptions_are_one():
    items = [("10.0.0.0/8", ["10.1.0.0/16", "10.1.2.0/24"])]
    assert covered(items, "10.1.2.0/25", "10.1.3.0/24", "10.2.0.0/16") == [False, False, True]
    items.append(("10.0.0.0/12", []))
    assert covered(items, "10.1.2.0/25", "10.1.3.0/24") == [True, True]


def test_an_exception_wider_than_its_item_takes_nothing_from_others():
    items = [("10.1.0.0/16", ["10.0.0.0/8"]), ("10.2.0.0/16", [])]
    assert covered(items, "10.1.2.0/24", "10.2.3.0/24", "10.3.0.0/16") == [False, True, False]


def test_an_exception_of_one_item_stays_in_what_another_item_names():
    items = [("10.0.0.0/8", ["10.1.0.0/16"]), ("10.1.2.0/24", [])]
    assert covered(items, "10.1.2.0/25", "10.1.3.0/24") == [True, False]
