"""What leaves no trace unless it is counted where it happens."""

import logging
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from prometheus_client.metrics_core import Metric

from cilia.agent.metrics.families import counter, gauge, histogram
from cilia.policy.commit import Commit

OUTCOMES = ("fail", "success")
STATUSES = ("failed", "success")
_FINE = ("failure", "success")


class Counters:
    """Counters and times of one agent; rooms are given its methods to call."""

    def __init__(self) -> None:
        self.api_calls = counter("k8s_client_api_calls_total")
        self.api_latency = histogram("k8s_client_api_latency_time_seconds")
        self.received = counter("kubernetes_events_received_total")
        self.events = counter("kubernetes_events_total")
        self.event_time = gauge("event_ts")
        self.served = histogram("agent_api_process_time_seconds")
        self.bootstrap = gauge("agent_bootstrap_seconds")
        self.runs = counter("controllers_runs_total")
        self.group_runs = counter("controllers_group_runs_total")
        self.run_time = histogram("controllers_runs_duration_seconds")
        self.reconciler_errors = counter("reconciler_errors_total")
        self.ipcache_errors = counter("ipcache_errors_total")
        self.log_lines = counter("errors_warnings_total")
        self.policy_changes = counter("policy_change_total")
        self.policy_delay = histogram("policy_implementation_delay")
        self.policy_update = histogram("policy_incremental_update_duration")
        self.regenerations = counter("endpoint_regenerations_total")
        self.regeneration_time = histogram("endpoint_regeneration_time_stats_seconds")
        self.service_events = counter("services_events_total")
        self.service_delay = histogram("service_implementation_delay")
        self.node_events = counter("nodes_all_events_received_total")
        self.sweeps = counter("datapath_conntrack_gc_runs_total")
        self.sweep_time = histogram("datapath_conntrack_gc_duration_seconds")
        # A rate needs a zero to begin with: alerts are on these.
        for outcome in _FINE:
            self.policy_changes.labels(outcome)
            self.runs.labels(outcome)
        for outcome in OUTCOMES:
            self.regenerations.labels(outcome)
        for level in ("error", "warning"):
            self.log_lines.labels(level, "agent")

    def collect(self) -> Iterable[Metric]:
        """Returns all of it."""
        for each in vars(self).values():
            yield from each.collect()

    # What rooms call

    def note_requests_to(self, server: str) -> Callable[[str, str, int, float], None]:
        """Returns what takes note of a request to an API server; status 0: no answer came."""
        host = urlsplit(server).netloc

        def note(method: str, path: str, status: int, took_s: float) -> None:
            code = str(status) if status else "<error>"
            self.api_calls.labels(host, method, code).inc()
            if status:
                self.api_latency.labels(path_template(path), method).observe(took_s)

        return note

    def note_event(self, scope: str, action: str, *, valid: bool, equal: bool) -> None:
        """Takes note of an object that the API server told of."""
        words = {True: "true", False: "false"}
        self.received.labels(scope, action, words[valid], words[equal]).inc()
        if not equal:
            self.events.labels(scope, action, STATUSES[valid]).inc()
        self.event_time.labels("k8s", scope, action).set_to_current_time()

    def note_answer(self, method: str, path: str, status: int, took_s: float) -> None:
        """Takes note of an answer of the agent's own API."""
        self.served.labels(path, method, str(status)).observe(took_s)

    def note_round(self, name: str, failing: int, took_s: float) -> None:
        """Takes note of a reconciler's round."""
        status = _FINE[not failing]
        self.runs.labels(status).inc()
        self.group_runs.labels(name, status).inc()
        self.run_time.labels(status).observe(took_s)
        if failing:
            self.reconciler_errors.labels(name).inc()
            if name == "ipcache":
                self.ipcache_errors.labels("write", "kernel").inc()

    def note_commit(self, commit: Commit) -> None:
        """Takes note of a commit of policy."""
        is_fine = not commit.error
        if commit.endpoints:
            status = _FINE[is_fine]
            self.regenerations.labels(OUTCOMES[is_fine]).inc(commit.endpoints)
            for scope, took_s in (
                ("policyCalculation", commit.compute_s),
                ("mapSync", commit.write_s),
                ("total", commit.compute_s + commit.write_s),
            ):
                self.regeneration_time.labels(scope, status).observe(took_s)
        if is_fine:
            self.policy_update.labels("global").observe(commit.compute_s + commit.write_s)
        for outcome, keys in (("success", commit.accepted), ("failure", commit.refused)):
            self.policy_changes.labels(outcome).inc(len(keys))
        for (kind, _, _, source), delay_s in commit.delays:
            word = (
                "directory" if source else "k8s" if kind == "NetworkPolicy" else "custom-resource"
            )
            self.policy_delay.labels(word).observe(delay_s)

    def note_sweep(self, took_s: float, failed: bool) -> None:
        """Takes note of a sweep of expired connections; one sweep is of all families."""
        status = "uncompleted" if failed else "completed"
        self.sweeps.labels("all", "all", status).inc()
        self.sweep_time.labels("all", "all", status).observe(took_s)

    def note_start(self, scope: str, took_s: float) -> None:
        """Takes note of a part of the start that is done."""
        self.bootstrap.labels(scope, "success").set(took_s)


class CountingHandler(logging.Handler):
    """Counts the log's errors and warnings by room."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(logging.WARNING)
        self._lines = counters.log_lines

    def emit(self, record: logging.LogRecord) -> None:
        """Counts one line."""
        first, _, rest = record.name.partition(".")
        room = rest.partition(".")[0] if first == "cilia" else first
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._lines.labels(level, room).inc()


def path_template(path: str) -> str:
    """Returns a path of the API server without names, so that there are few.

    >>> path_template("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/pod-1/status")
    '/apis/cilium.io/v2/namespaces/{namespace}/ciliumendpoints/{name}/status'
    >>> path_template("/api/v1/nodes/node-1"), path_template("/api/v1/namespaces/default")
    ('/api/v1/nodes/{name}', '/api/v1/namespaces/{name}')
    """
    words = path.strip("/").split("/")
    at = {"api": 2, "apis": 3}.get(words[0], len(words))
    head, rest = words[:at], words[at:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        head, rest = [*head, "namespaces", "{namespace}"], rest[2:]
    if len(rest) > 1:
        rest = [rest[0], "{name}", *rest[2:3]]
    return "/" + "/".join([*head, *rest])


class Stopwatch:
    """Times the parts of a start, one after the other."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._began = self._last = time.perf_counter()

    def done(self, scope: str) -> None:
        """Says that the part that ran since the last call is done."""
        now = time.perf_counter()
        self._counters.note_start(scope, now - self._last)
        self._last = now

    def all_done(self) -> None:
        """Says that the agent serves."""
        self.done("daemon")
        self._counters.note_start("overall", self._last - self._began)
