"""Pools against a plain set: no address twice, none lost, none that is reserved."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cilia.ipam import HostScope, Pool, PoolFull
from cilia.model.errors import Conflict

SMALL = ip_network("10.0.1.0/28")


class PoolAgainstASet(RuleBasedStateMachine):
    """A pool and a dict that says who has what."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(SMALL)
        self.model: dict[object, str] = {}

    @rule(target=taken, owner=st.sampled_from(["a", "b"]))
    def allocate(self, owner: str) -> object:
        if len(self.model) == 13:
            with pytest.raises(PoolFull):
                self.pool.allocate(owner)
            return None
        address = self.pool.allocate(owner)
        assert address not in self.model
        self.model[address] = owner
        return address

    @rule(address=consumes(taken))
    def release(self, address: IPv4Address | None) -> None:
        if address is not None:
            assert self.pool.release(address) == (self.model.pop(address, None) is not None)

    @rule(offset=st.integers(0, 15), owner=st.sampled_from(["a", "b"]))
    def claim(self, offset: int, owner: str) -> None:
        address = SMALL[offset]
        if not 2 <= offset <= 14:
            with pytest.raises(ValueError, match="not an address for pods"):
                self.pool.claim(address, owner)
        elif self.model.get(address, owner) != owner:
            with pytest.raises(Conflict):
                self.pool.claim(address, owner)
        else:
            self.pool.claim(address, owner)
            self.model[address] = owner

    @invariant()
    def they_agree(self) -> None:
        assert self.pool.owners() == self.model
        assert self.pool.used == len(self.model)


TestPoolAgainstASet = PoolAgainstASet.TestCase


@given(st.integers(2, 30), st.ip_addresses(v=4))
def test_reserved_addresses_are_nobodys(bits: int, start: IPv4Address) -> None:
    network = ip_network(f"{start}/{bits}", strict=False)
    pool = Pool(network)
    got = [pool.allocate("x") for _ in range(min(pool.capacity, 20))]
    assert len(set(got)) == len(got)
    assert not {network[0], network[1], network[-1]} & set(got)
    assert pool.router == network[1]


def test_a_released_address_comes_back_last() -> None:
    pool = Pool(SMALL)
    first = pool.allocate("a")
    pool.release(first)
    assert [pool.allocate("b") for _ in range(13)][-1] == first


def test_a_full_pool_says_who_holds_what() -> None:
    pool = Pool(ip_network("10.0.1.0/29"))
    for name in "abcde":
        pool.allocate(f"default/{name}")
    with pytest.raises(PoolFull) as caught:
        pool.allocate("default/f")
    assert "all 5 are in use by default/a (10.0.1.2), default/b (10.0.1.3)" in str(caught.value)
    assert "larger pod network" in str(caught.value)
    assert caught.value.owners[ip_address("10.0.1.2")] == "default/a"


@pytest.mark.parametrize("network", ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127"])
def test_a_network_without_room_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match="no room for a pod"):
        Pool(ip_network(network))


def test_a_pair_is_whole_or_not_at_all() -> None:
    pools = HostScope([ip_network("10.0.1.0/24"), ip_network("fd00::/126")])
    assert pools.v4 is not None
    assert pools.v6 is not None
    for number in range(pools.v6.capacity):
        pair = pools.allocate(f"p{number}")
        assert pair.v4 is not None
        assert pair.v6 is not None
    used = pools.v4.used
    with pytest.raises(PoolFull, match="fd00::/126"):
        pools.allocate("one too many")
    assert pools.v4.used == used
    pools.release(pair.v4, pair.v6)
    pools.release(pair.v4, None)
    pools.claim(pair.v4, pair.v6, "again")
    with pytest.raises(Conflict, match="belongs to again"):
        pools.claim(pair.v4, None, "other")
    given = pools.v6.capacity + 1
    assert pools.events == {
        ("allocate", 4): given,
        ("allocate", 6): given,
        ("release", 4): 1,
        ("release", 6): 1,
    }


def test_one_family_is_enough_and_two_of_one_too_many() -> None:
    pair = HostScope([ip_network("fd00::/64")]).allocate("a")
    assert pair.v4 is None
    with pytest.raises(ValueError, match="second one of its family"):
        HostScope([ip_network("10.0.0.0/24"), ip_network("10.0.1.0/24")])
    with pytest.raises(ValueError, match="no pod network"):
        HostScope([])
    with pytest.raises(ValueError, match="no pod network of that family"):
        HostScope([ip_network("fd00::/64")]).claim(IPv4Address("10.0.0.5"), None, "a")
    HostScope([ip_network("fd00::/64")]).release(IPv4Address("10.0.0.5"), None)
