"""Errors of many nodes, told once."""

from cilia.hubble.relay.troubles import Troubles


def test_equal_errors_are_told_at_once_and_then_together() -> None:
    troubles = Troubles(window_s=10.0)
    assert troubles.add("a", "no such filter", 0.0)
    assert not troubles.add("c", "no such filter", 1.0)
    assert not troubles.add("b", "no such filter", 2.0)
    assert troubles.add("b", "another", 2.0)
    assert troubles.due(2.0) == 8.0
    assert troubles.take(9.0) == []
    assert troubles.take(10.0) == [("no such filter", ["b", "c"])]
    assert troubles.due(10.0) is None
    assert troubles.take(12.0) == []
    assert troubles.add("a", "no such filter", 12.0)


def test_the_end_of_a_stream_tells_what_is_left() -> None:
    troubles = Troubles(window_s=10.0)
    troubles.add("a", "x", 0.0)
    troubles.add("b", "x", 0.0)
    assert troubles.take(0.0, all_of_them=True) == [("x", ["b"])]
