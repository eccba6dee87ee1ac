"""Collecting unused identities: never one that is in use, never without a mark that aged."""

from hypothesis import given
from hypothesis import strategies as st

from cilia.identity.collection import collection_steps
from cilia.identity.ports import StoredIdentity

stored = st.lists(
    st.builds(
        StoredIdentity,
        number=st.integers(256, 270),
        labels=st.just(("k8s:app=web",)),
        unused_since=st.sampled_from([0.0, 10.0, 100.0]),
    ),
    unique_by=lambda identity: identity.number,
)


@given(stored=stored, used=st.sets(st.integers(256, 270)), now=st.floats(100.0, 300.0))
def test_steps(stored: list[StoredIdentity], used: set[int], now: float) -> None:
    steps = collection_steps(stored, used, now, keep_s=60.0)
    for identity in stored:
        in_use, marked = identity.number in used, identity.unused_since > 0
        assert (identity in steps.unmark) == (in_use and marked)
        assert (identity in steps.mark) == (not in_use and not marked)
        aged = now - identity.unused_since >= 60.0
        assert (identity in steps.remove) == (not in_use and marked and aged)
