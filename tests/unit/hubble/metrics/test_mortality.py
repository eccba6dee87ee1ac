"""When the series of a pod end."""

from cilia.hubble.metrics.mortality import Mortality


def test_a_pod_is_gone_when_it_was_missing_for_the_whole_delay() -> None:
    mortality = Mortality(60)
    assert mortality.gone({"a": 5, "b": 1}, {"b"}, 100) == frozenset()
    assert mortality.gone({"a": 5, "b": 1}, {"b"}, 159) == frozenset()
    assert mortality.gone({"a": 5, "b": 1}, {"b"}, 160) == {"a"}


def test_a_pod_that_came_back_or_still_counts_is_not_gone() -> None:
    mortality = Mortality(60)
    mortality.gone({"a": 5, "b": 1}, set(), 0)
    mortality.gone({"a": 5, "b": 2}, {"a"}, 59)
    assert mortality.gone({"a": 5, "b": 2}, set(), 61) == frozenset()
    assert mortality.gone({"a": 5, "b": 2}, set(), 119) == {"b"}
    assert mortality.gone({"a": 5}, set(), 121) == {"a"}
