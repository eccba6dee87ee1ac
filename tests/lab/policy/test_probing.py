"""The probes themselves: what is not as expected is found, whichever way."""

import pytest

from lab.policy.case import network_policy
from lab.policy.cluster import Cluster
from lab.policy.truth import TCP, UDP, allow, deny, flows, truth


def test_later_expectations_overrule_earlier_ones() -> None:
    asked = flows(["x/a", "y/b"], ["x/a", "z/c"], [80], families=[4])
    found = truth(asked, [deny("*", "x/a"), allow("y/*", "*", protocol=TCP)])
    stopped = [flow for flow, ok in found.items() if not ok]
    assert [(f.source, f.target, f.protocol) for f in stopped] == [("y/b", "x/a", UDP)]


def test_what_passes_and_should_not_is_found(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match=r"(?s)^8 of .*x/b -> x/a TCP 80 v4 passed"):
        cluster.check(deny("x/b", "x/a"), asked=flows(["x/b", "x/c"], ["x/a"], [80, 81]))


def test_what_is_stopped_and_should_not_be_is_found(cluster: Cluster) -> None:
    asked = flows(["x/b"], ["x/a"], [80], [TCP])
    closed = network_policy("{podSelector: {}, ingress: []}")
    with cluster.policies(closed), pytest.raises(AssertionError, match=r"(?s)^2 of 2 .*v4 stopped"):
        cluster.check(asked=asked)


def test_a_port_without_a_server_is_no_success(cluster: Cluster) -> None:
    asked = flows(["x/b"], ["x/a"], [83])
    with pytest.raises(AssertionError, match="ECONNREFUSED"):
        cluster.check(asked=asked)
