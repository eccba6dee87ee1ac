"""The agent's metrics: what is chosen, what is counted, what is added up."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cilia.agent.metrics.census import census_of
from cilia.agent.metrics.choice import chosen_families
from cilia.agent.metrics.counters import Counters, CountingHandler, path_template
from cilia.agent.metrics.families import FAMILIES, family_of
from cilia.agent.metrics.following import Follower
from cilia.agent.metrics.looks import traffic
from cilia.agent.metrics.registry import Chosen
from cilia.agent.metrics.verdicts import Expected, PolicyVerdicts
from cilia.agent.rule_hits import Account, Hits
from cilia.agent.settings import AgentSettings
from cilia.datapath import layout
from cilia.datapath.maps.metric import MetricRow
from cilia.model.errors import InvalidValue, KernelError
from cilia.model.labels import label_set
from cilia.model.rules import Direction, PolicyKey
from cilia.policy.commit import Commit, CommitAccount
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.sources import parse_policy
from cilia.policy.syntax.context import Context
from cilia.runtime.reconciler import Failed
from cilia.service import Services
from cilia.state.nodes import Node
from cilia.state.services import Service, ServicePort
from cilia.state.tables import Tables

RULE1 = ("CiliumNetworkPolicy", "default", "rule1", "")


def values(collector: object, name: str) -> dict[tuple[str, ...], float]:
    """Samples of one name by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in collector.collect()  # type: ignore[attr-defined]  # any collector
        for sample in metric.samples
        if sample.name == f"cilium_{name}"
    }


# Which families


def test_families_are_switched_by_sign_and_the_last_word_counts() -> None:
    usual = chosen_families([])
    assert usual == {one.name for one in FAMILIES.values() if one.is_on}
    quiet = "cilium_statedb_table_objects"
    assert chosen_families([f"+{quiet}"]) - usual == {quiet}
    assert usual - chosen_families(["-cilium_policy"]) == {"cilium_policy"}
    assert chosen_families(["-cilium_policy", "+cilium_policy"]) == usual
    assert chosen_families([f"-cilium_policy +{quiet}"]) == {*usual, quiet} - {"cilium_policy"}


def test_a_family_that_is_not_there_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert chosen_families(["+cilium_polcy"]) == chosen_families([])
    assert caplog.records[0].__dict__["close"] == "cilium_policy"


@pytest.mark.parametrize("word", ["cilium_policy", "+cilium_policy cilium_endpoint", "+"])
def test_a_word_without_a_sign_or_a_name_is_refused(word: str) -> None:
    with pytest.raises(InvalidValue, match=r"\+NAME"):
        chosen_families([word])


def test_only_what_is_chosen_is_shown_and_without_times_of_creation() -> None:
    counters = Counters()
    counters.note_round("ipcache", 0, 0.1)
    shown = list(Chosen({"cilium_controllers_runs_total"}, [counters]).collect())
    assert [family_of(metric) for metric in shown] == ["cilium_controllers_runs_total"]
    assert {sample.name for sample in shown[0].samples} == {"cilium_controllers_runs_total"}


class Unreadable:
    """A collector whose map is gone."""

    def collect(self) -> list[Metric]:
        raise KernelError("read map metric", 9)


def test_a_map_that_cannot_be_read_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    counters.note_round("ipcache", 0, 0.1)
    both = Chosen({"cilium_controllers_runs_total"}, [Unreadable(), counters])
    assert [family_of(one) for one in both.collect()] == ["cilium_controllers_runs_total"]
    assert "read map metric" in caplog.records[0].__dict__["error"]


def test_everything_counted_is_declared_and_is_valid_openmetrics() -> None:
    counters = Counters()
    count_a_bit_of_everything(counters)
    everything = Chosen(set(FAMILIES), [counters])
    assert {family_of(one) for one in everything.collect()} <= FAMILIES.keys()
    parsed = list(text_string_to_metric_families(generate_latest(everything).decode()))
    assert len(parsed) == len(list(counters.collect()))


def count_a_bit_of_everything(counters: Counters) -> None:
    counters.note_requests_to("https://10.0.0.1:6443")("GET", "/api/v1/pods", 200, 0.01)
    counters.note_event("Pod", "create", valid=True, equal=False)
    counters.note_answer("GET", "/v1/map", 200, 0.001)
    counters.note_round("ipcache", 1, 0.2)
    counters.note_commit(Commit(0.1, 0.2, "", 3, (RULE1,), (), ((RULE1, 0.4),)))
    counters.note_sweep(0.1, False)
    counters.note_start("overall", 1.0)
    counters.service_events.labels("add").inc()
    counters.service_delay.labels("add").observe(0.1)
    counters.node_events.labels("add", "local").inc()


def test_settings_with_an_address_that_is_none_are_refused() -> None:
    assert AgentSettings(prometheus_serve_addr=":9962").prometheus_serve_addr
    with pytest.raises(InvalidValue, match="HOST:PORT"):
        AgentSettings(prometheus_serve_addr="9962")


# What is counted


def test_requests_are_counted_by_code_and_timed_when_they_are_answered() -> None:
    counters = Counters()
    note = counters.note_requests_to("https://10.0.0.1:6443")
    note("GET", "/api/v1/namespaces/a/pods/b", 200, 0.02)
    note("GET", "/api/v1/namespaces/a/pods/c", 0, 9.0)
    host = "10.0.0.1:6443"
    calls = {(host, "GET", "200"): 1, (host, "GET", "<error>"): 1}
    assert values(counters, "k8s_client_api_calls_total") == calls
    path = "/api/v1/namespaces/{namespace}/pods/{name}"
    times = values(counters, "k8s_client_api_latency_time_seconds_count")
    assert times == {(path, "GET"): 1}


@settings(deadline=None)
@given(st.text())
def test_a_path_of_any_shape_has_a_template(path: str) -> None:
    assert path_template(path).startswith("/")


def test_a_commit_counts_endpoints_objects_and_delays() -> None:
    counters, account = Counters(), CommitAccount()
    account.take_in(RULE1)
    account.take_in(("NetworkPolicy", "a", "b", ""), refused=True)
    counters.note_commit(account.close(0.1, 0.2, "map policy is full", 2))
    assert values(counters, "policy_implementation_delay_count") == {}
    counters.note_commit(account.close(0.1, 0.2, "", 2))
    assert values(counters, "policy_implementation_delay_count") == {("custom-resource",): 1}
    regenerations = {("success",): 2, ("fail",): 2}
    assert values(counters, "endpoint_regenerations_total") == regenerations
    changes = {("success",): 1, ("failure",): 1}
    assert values(counters, "policy_change_total") == changes


def test_an_object_that_changes_before_it_is_enforced_waits_since_the_first_change() -> None:
    account = CommitAccount()
    account.take_in(RULE1)
    assert account.close(0, 0, "no room", 0).delays == ()
    account.take_in(RULE1)
    ((key, delay_s),) = account.close(0, 0, "", 0).delays
    assert (key, delay_s >= 0) == (RULE1, True)
    assert account.close(0, 0, "", 0) == Commit(0, 0, "", 0)


def test_lines_of_the_log_are_counted_by_room() -> None:
    counters = Counters()
    log = logging.getLogger("cilia.policy.service")
    handler = CountingHandler(counters)
    log.addHandler(handler)
    try:
        log.error("a")
        log.warning("b")
        log.info("c")
    finally:
        log.removeHandler(handler)
    found = values(counters, "errors_warnings_total")
    assert (found["error", "policy"], found["warning", "policy"]) == (1, 1)


class Shelf:
    """A place for frontends that holds writes up until it is told."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def update(self, rows: object) -> list[Failed]:
        await self.open.wait()
        return []

    delete = prune = update


def test_a_service_is_timed_until_the_kernel_has_it() -> None:
    async def scene() -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
        tables, counters, shelf = Tables(), Counters(), Shelf()
        services = Services(tables, shelf)  # type: ignore[arg-type]  # a target of our own
        follower = Follower(tables, services, counters)
        tables.services.mark_synced()
        tables.endpoint_slices.mark_synced()
        ports = (ServicePort("http", "TCP", 80),)
        tables.services.upsert(Service("default", "web", "ClusterIP", ("10.0.0.1",), ports))
        tables.nodes.upsert(Node("a", (), ()))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.run(asyncio.Event())) for each in (services, follower)]
            while not values(counters, "services_events_total"):
                await asyncio.sleep(0)
            before = values(counters, "service_implementation_delay_count")
            shelf.open.set()
            while not values(counters, "service_implementation_delay_count"):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
        assert values(counters, "nodes_all_events_received_total") == {("add", "kubernetes"): 1}
        return before, values(counters, "service_implementation_delay_count")

    assert asyncio.run(scene()) == ({}, {("add",): 1})


# What is added up


def test_traffic_is_told_by_reason_and_direction() -> None:
    found = traffic(
        [
            MetricRow(0, "ingress", 5, 500),
            MetricRow(133, "egress", 2, 200),
            MetricRow(6, "service", 1, 0),
            MetricRow(15, "ingress", 9, 900),
        ]
    )
    assert found["forward_count_total"] == {("INGRESS",): 5, ("EGRESS",): 0}
    assert found["forward_bytes_total"] == {("INGRESS",): 500, ("EGRESS",): 0}
    assert found["drop_count_total"] == {
        ("Policy denied", "INGRESS"): 0,
        ("Policy denied", "EGRESS"): 2,
        ("LB, sock cgroup: No backend entry found", "SERVICE"): 1,
    }
    assert found["drop_bytes_total"]["Policy denied", "EGRESS"] == 200


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 255), st.sampled_from(["ingress", "egress"]), st.integers(0, 2**40)
        ),
        unique_by=lambda row: row[:2],
    )
)
def test_no_series_comes_twice_and_no_packet_is_lost(rows: list[tuple[int, str, int]]) -> None:
    found = traffic([MetricRow(reason, way, count, 0) for reason, way, count in rows])
    total = sum(found["drop_count_total"].values()) + sum(found["forward_count_total"].values())
    assert total == sum(count for reason, _, count in rows if reason == 0 or reason >= 130)


IN_DEFAULT = "k8s:io.kubernetes.pod.namespace=default"
DOCUMENT = {
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "a", "namespace": "default"},
    "spec": {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"fromEntities": ["cluster"]}],
        "ingressDeny": [{"fromEntities": ["world"]}],
    },
}


def rule(name: str, index: int = 0, verdict: str = "allow") -> ProvenanceRule:
    key = PolicyKey("CiliumNetworkPolicy", "default", name)
    return ProvenanceRule(key, f"spec.ingress[{index}]", index, Direction.INGRESS, verdict)


def verdicts(collector: PolicyVerdicts) -> Mapping[tuple[str, ...], float]:
    return {
        (labels[2], labels[4]): value
        for labels, value in values(collector, "policy_verdict_packets_total").items()
    }


def test_verdicts_of_a_policys_rules_are_one() -> None:
    totals = {
        rule("a", 0): Hits(1, 10, 100),
        rule("a", 1): Hits(1, 5, 50),
        rule("a", 2, "deny"): Hits(0, 3, 30),
    }
    account = Account(0, totals, Hits(0, 7, 70))
    found = verdicts(PolicyVerdicts(lambda: account))
    assert found == {("a", "allow"): 15, ("a", "deny"): 3, ("other", "deny"): 7}


def test_a_policy_that_selects_somebody_is_there_before_it_is_used() -> None:
    engine = PolicyEngine()
    expected = Expected(engine)
    collector = PolicyVerdicts(lambda: Account(0), expected)
    engine.set_policy(parse_policy(DOCUMENT, Context()))
    engine.set_identity(1000, label_set(["k8s:app=web", IN_DEFAULT]))
    engine.commit()
    assert verdicts(collector) == {}, "it selects nobody here"
    engine.set_endpoint(1, Endpoint(1000))
    engine.commit()
    wanted = dict.fromkeys([("a", "allow"), ("a", "deny"), ("a", "default-deny")], 0)
    assert verdicts(collector) == wanted
    assert expected() is expected()
    engine.delete_policy(PolicyKey("CiliumNetworkPolicy", "default", "a"))
    engine.commit()
    assert verdicts(collector) == {}


def test_policies_beyond_the_limit_are_one_and_who_was_first_stays() -> None:
    account = [Account(0, {rule("m"): Hits(1, 1, 1)})]
    collector = PolicyVerdicts(lambda: account[0], most=2)
    assert verdicts(collector) == {("m", "allow"): 1}
    names = ("a", "b", "m", "z")
    account[0] = Account(0, {rule(name): Hits(1, n, 1) for n, name in enumerate(names, 1)})
    assert verdicts(collector) == {("a", "allow"): 1, ("m", "allow"): 3, ("other", "allow"): 6}
    account[0] = Account(0, {rule(name): Hits(1, 9, 1) for name in ("b", "m", "z")})
    # b has series of its own now; what was counted of it before stays among the others.
    assert verdicts(collector) == {("b", "allow"): 9, ("m", "allow"): 9, ("other", "allow"): 11}


STEPS = st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100)), max_size=8)


@settings(deadline=None)
@given(STEPS)
def test_the_sum_of_verdicts_is_the_sum_of_the_account(steps: list[dict[str, int]]) -> None:
    account, totals = [Account(0)], Counter[str]()
    collector = PolicyVerdicts(lambda: account[0], most=3)
    for step in steps:
        totals.update(step)
        account[0] = Account(0, {rule(name): Hits(1, n, 1) for name, n in totals.items()})
        assert sum(verdicts(collector).values()) == totals.total()


@settings(deadline=None)
@given(STEPS)
def test_no_series_falls_while_its_policy_is_there(steps: list[dict[str, int]]) -> None:
    account, totals = [Account(0)], Counter[str]()
    collector = PolicyVerdicts(lambda: account[0], most=2)
    before: Mapping[tuple[str, ...], float] = {}
    for step in steps:
        totals = Counter({name: totals[name] + more for name, more in step.items()})
        account[0] = Account(0, {rule(name): Hits(1, n, 1) for name, n in totals.items()})
        now = verdicts(collector)
        assert all(now[key] >= before[key] for key in before.keys() & now.keys())
        assert {key for key in before if key[0] == "other"} <= now.keys()
        before = now


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([1, 6, 17]), st.integers(0, 20))))
def test_connections_are_counted_by_kind(rows: list[tuple[bool, int, int]]) -> None:
    key, value = layout.map_types("conntrack")
    keys, values_ = np.zeros(len(rows), key), np.zeros(len(rows), value)
    wanted: Counter[tuple[str, str, str]] = Counter()
    for at, (is_v6, protocol, expires_s) in enumerate(rows):
        address = "fd00::1" if is_v6 else "10.0.0.1"
        keys[at]["low"] = np.frombuffer(layout.encode_address(address), "V16")[0]
        keys[at]["protocol"], values_[at]["expires_s"] = protocol, expires_s
        family = "ipv6" if is_v6 else "ipv4"
        status = "deleted" if expires_s < 10 else "alive"
        wanted[family, "TCP" if protocol == 6 else "non-TCP", status] += 1
    found = census_of(keys, values_, 10)
    assert len(found) == 8
    assert Counter(found) == wanted


def test_a_metric_of_the_registry_is_known_by_its_written_name() -> None:
    assert family_of(Metric("cilium_x", "", "counter")) == "cilium_x_total"
    assert family_of(Metric("cilium_x", "", "gauge")) == "cilium_x"
