from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.controllers.rollout import Generation, Limits, limits, recreate, rolling

counts = st.integers(0, 8)
amounts = st.one_of(st.integers(0, 8), st.integers(0, 200).map(lambda number: f"{number}%"))


@given(st.integers(0, 40), amounts, amounts)
def test_limits_are_what_the_documentation_says(
    replicas: int, surge: int | str, unavailable: int | str
) -> None:
    def share(value: int | str, up: bool) -> int:
        if isinstance(value, int):
            return value
        exact = replicas * int(value[:-1]) / 100
        whole = int(exact)
        return whole + 1 if up and exact > whole else whole

    bounds = limits(replicas, surge, unavailable)
    assert bounds.surge == share(surge, True)
    fewer = share(unavailable, False)
    assert bounds.unavailable == min(fewer if bounds.surge or fewer else 1, replicas)


@given(st.data(), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3), st.lists(counts))
def test_a_rolling_update_keeps_its_limits_and_ends(
    data: st.DataObject, replicas: int, surge: int, unavailable: int, before: list[int]
) -> None:
    bounds = limits(replicas, surge, unavailable)
    start = [one for one in before if one][:3]
    if sum(start) > replicas:
        start = [replicas]
    wanted, ready = [*start, 0], [*start, 0]
    for _ in range(200):
        generations = [
            Generation(count, available, count)
            for count, available in zip(wanted, ready, strict=True)
        ]
        new, old = rolling(bounds, generations[-1], generations[:-1])
        after = [*old, new]
        assert sum(after) <= max(replicas + bounds.surge, sum(wanted))
        serving_before = sum(ready)
        ready = [min(available, count) for available, count in zip(ready, after, strict=True)]
        assert sum(ready) >= min(serving_before, replicas - bounds.unavailable)
        wanted = after
        if data.draw(st.booleans()):
            ready[-1] = wanted[-1]
        if wanted == [0] * len(start) + [replicas] == ready:
            return
        if data.draw(st.booleans()):
            ready = list(wanted)
    ready = list(wanted)
    for _ in range(50):
        generations = [Generation(count, count, count) for count in wanted]
        new, old = rolling(bounds, generations[-1], generations[:-1])
        wanted = [*old, new]
    assert wanted == [0] * len(start) + [replicas]


def test_replicas_that_do_not_serve_go_first() -> None:
    bounds = Limits(4, 1, 0)
    new, old = Generation(1, 0, 1), [Generation(3, 3, 3), Generation(1, 0, 1)]
    assert rolling(bounds, new, old) == (1, [3, 1])
    assert rolling(bounds, Generation(1, 1, 1), old) == (1, [3, 0])


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    assert recreate(3, [Generation(0, 0, 1)]) == (None, [0])
    assert recreate(3, [Generation(0, 0, 0)]) == (3, [0])
