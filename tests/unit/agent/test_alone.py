"""A node without Kubernetes: which one it is, what it refuses, what it writes into the log."""

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from cilia.agent.alone import LoneNode, PolicyLog
from cilia.agent.kubernetes import KubernetesCluster
from cilia.agent.local_pods import LocalPods
from cilia.agent.metrics.counters import Counters
from cilia.agent.settings import AgentSettings, node_site
from cilia.agent.wiring import choose_cluster
from cilia.model.errors import CiliaError, InvalidValue
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.pods import Pod
from cilia.state.policy_enforcements import PolicyEnforcement
from cilia.state.tables import Tables

ROW = EndpointRow(
    id=1,
    namespace="default",
    pod="web",
    uid="",
    container="c1",
    ifname="lxc1",
    ifindex=7,
    mac="",
    host_mac="",
    v4="10.0.1.2",
    v6=None,
    state=EndpointState.WAITING_FOR_IDENTITY,
    given_labels=(("app", "web"),),
)


def settings(folder: Path, **changes: object) -> AgentSettings:
    base = AgentSettings(
        static_cnp_path=str(folder), pod_cidrs=("10.0.1.0/24",), state_dir=str(folder)
    )
    return msgspec.structs.replace(base, **changes)


def chosen(given: AgentSettings, **environment: str) -> object:
    return choose_cluster(given, node_site(given, "n", Path("/nowhere")), environment, Counters())


def test_a_folder_and_no_api_server_is_a_lone_node(tmp_path: Path) -> None:
    lone = chosen(settings(tmp_path))
    assert isinstance(lone, LoneNode)
    assert lone.status() == {"state": "Disabled", "msg": f"policies from {tmp_path}"}


def test_a_kubeconfig_or_a_service_account_goes_before_the_folder(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "current-context: c\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {}}]\n"
    )
    found = chosen(settings(tmp_path, kubeconfig=str(kubeconfig)))
    assert isinstance(found, KubernetesCluster)
    with pytest.raises(CiliaError, match="service"):
        chosen(settings(tmp_path), KUBERNETES_SERVICE_HOST="127.0.0.1")


def test_what_only_kubernetes_would_know_must_be_set(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="pod-cidrs"):
        chosen(settings(tmp_path, pod_cidrs=()))
    with pytest.raises(InvalidValue, match="not a folder"):
        chosen(settings(tmp_path / "missing"))


def test_a_pod_is_as_its_newest_endpoint_says_and_goes_with_its_last() -> None:
    async def live() -> None:
        tables = Tables()
        ready = asyncio.Event()
        task = asyncio.create_task(LocalPods(tables).run(ready))

        async def settled() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        tables.endpoints.upsert(ROW)
        await ready.wait()
        assert tables.pods.snapshot() == [Pod("default", "web", "", (("app", "web"),))]
        assert "default" in tables.namespaces
        tables.endpoints.upsert(msgspec.structs.replace(ROW, state=EndpointState.DISCONNECTING))
        again = msgspec.structs.replace(ROW, id=2, given_labels=(("app", "db"),))
        tables.endpoints.upsert(again)
        await settled()
        assert tables.pods.snapshot() == [Pod("default", "web", "", (("app", "db"),))]
        tables.endpoints.delete(1)
        await settled()
        assert len(tables.pods) == 1
        tables.endpoints.delete(2)
        await settled()
        assert (len(tables.pods), len(tables.namespaces)) == (0, 0)
        task.cancel()

    asyncio.run(live())


def test_a_policy_that_changes_is_one_line_and_one_that_stays_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def tell(log: PolicyLog) -> None:
        row = PolicyEnforcement(("CiliumNetworkPolicy", "default", "web"), 1, endpoints=("a/b",))
        await log.update([row])
        await log.prune([row])
        await log.update([msgspec.structs.replace(row, error="no such field")])
        await log.delete([row])

    with caplog.at_level(logging.INFO):
        asyncio.run(tell(PolicyLog()))
    found = [(record.levelname, record.message) for record in caplog.records]
    assert found == [
        ("INFO", "policy status"),
        ("WARNING", "policy status"),
        ("INFO", "policy gone"),
    ]
