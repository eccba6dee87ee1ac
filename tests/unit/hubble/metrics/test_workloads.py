"""Bytes by workload, from the totals of connections."""

import numpy as np

from cilia.hubble.metrics.series import Counter
from cilia.hubble.metrics.workloads import WorkloadBytes
from cilia.hubble.parties import Party
from cilia.hubble.totals import Totals


class Moving:
    """Totals of connections between parties by number."""

    def __init__(self, parties: list[Party]) -> None:
        self.totals = Totals()
        self.parties = parties
        self.bytes = WorkloadBytes(self.totals.by_party, parties)

    def move(self, first: int, second: int, there: int, back: int) -> None:
        """Bytes of one connection."""
        moved = np.zeros((1, 4), np.uint64)
        moved[0, 2:] = there, back
        pair = (np.array([first], np.uint32), np.array([second], np.uint32))
        self.totals.add(pair, np.zeros((1, 2), np.uint32), moved, np.array([True]))

    def shown(self) -> dict[tuple[str, ...], int]:
        """Bytes by labels."""
        self.bytes.count()
        return series(self.bytes.counter)


def series(counter: Counter) -> dict[tuple[str, ...], int]:
    return {tuple(one.labels.values()): int(one.value) for one in counter.collect().samples}


def local(pod: str, *workloads: tuple[str, str], endpoint: int = 1) -> Party:
    return Party(endpoint, 300, "10.0.0.1", "ns", pod, workloads=workloads)


def test_each_side_has_sent_and_received_and_pods_of_one_workload_are_summed() -> None:
    web = ("web", "Deployment")
    moving = Moving([local("web-1", web), local("web-2", web), local("one", ("one", "Pod"))])
    moving.move(0, 2, 100, 7)
    moving.move(2, 1, 20, 3)
    moving.shown()
    moving.move(0, 2, 1_000, 0)
    assert moving.shown() == {
        ("ns", "web", "Deployment", "sent"): 1_103,
        ("ns", "web", "Deployment", "received"): 27,
        ("ns", "one", "Pod", "sent"): 27,
        ("ns", "one", "Pod", "received"): 1_103,
    }
    assert moving.bytes.counter.activity() == {"ns/one": 1_130}


def test_a_pod_counts_in_full_once_its_name_is_known_and_pods_elsewhere_do_not() -> None:
    nameless = Party(1, 300, "10.0.0.1")
    moving = Moving([nameless, local("far", endpoint=0)])
    moving.move(0, 1, 10, 5)
    assert moving.shown() == {}
    moving.parties[0] = local("late")
    moving.move(0, 1, 1, 1)
    assert moving.shown() == {
        ("ns", "late", "Pod", "sent"): 11,
        ("ns", "late", "Pod", "received"): 6,
    }
