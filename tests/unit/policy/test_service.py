"""The Service: tables in, maps out, and what became of each policy."""

import asyncio
import json
from ipaddress import ip_network

import msgspec
import pytest

from cilia.model.prefixes import prefix_key
from cilia.policy.service import PolicyService
from cilia.policy.settings import PolicySettings
from cilia.policy.sync import PolicySync
from cilia.state.endpoints import EndpointRow, EndpointState
from cilia.state.identities import IdentityRow
from cilia.state.ipcache import IpcacheRow
from cilia.state.policies import PolicyObject
from cilia.state.ports import NamedPort
from cilia.state.remote_endpoints import RemoteEndpoint
from cilia.state.tables import Tables

from ..fake_map import FakeMap  # noqa: TID252
from .test_sync import KEY, VALUE, FakeEndpoints, FakePrefixes, _labels


class Agent:
    """A policy service with its tables and a kernel in memory."""

    def __init__(self, path, settings=None):
        self.tables = Tables()
        self.rows = FakeMap(KEY, VALUE)
        self.endpoints = FakeEndpoints()
        sync = PolicySync(self.rows, FakeMap("<u4", "<u4"), FakePrefixes(), self.endpoints)
        self.service = PolicyService(
            self.tables, sync, settings or PolicySettings(), path / "policy.json"
        )
        for number, app in enumerate(("web", "db", "job"), 1000):
            self.tables.identities.upsert(IdentityRow(number, _labels(app)))
        self.tables.endpoints.upsert(endpoint(1, 1000), endpoint(2, 1001))

    def sync_all(self):
        tables = self.tables
        for table in (
            tables.policies, tables.identities, tables.endpoints, tables.remote_endpoints,
            tables.cidr_groups, tables.services, tables.endpoint_slices,
        ):  # fmt: skip
            table.mark_synced()

    def put(self, name, spec, generation=1, source=""):
        document = {"kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": spec}
        text = json.dumps(document).encode()
        row = PolicyObject("CiliumNetworkPolicy", "default", name, "u", generation, text, source)
        self.tables.policies.upsert(row)

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    def status(self, name, source=""):
        return self.tables.policy_statuses.get(("CiliumNetworkPolicy", "default", name, source))


def endpoint(number, identity):
    return EndpointRow(
        id=number, namespace="default", pod=f"pod-{number}", uid="u", container=f"c{number}",
        ifname="lxc", ifindex=number, mac="", host_mac="", v4=None, v6=None,
        state=EndpointState.READY, identity=identity, labels=(),
    )  # fmt: skip


WEB_FROM_JOB = {
    "endpointSelector": {"matchLabels": {"app": "web"}},
    "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "job"}}]}],
}


async def running(agent, scenario):
    task = asyncio.create_task(agent.service.run(asyncio.Event()))
    try:
        await scenario()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_nothing_is_decided_before_all_tables_are_synced(tmp_path):
    async def main():
        agent = Agent(tmp_path)

        async def scenario():
            for _ in range(20):
                await asyncio.sleep(0)
            assert agent.endpoints.rows == {}
            agent.sync_all()
            await agent.until(lambda: len(agent.endpoints.rows) == 2)

        await running(agent, scenario)

    asyncio.run(main())


def test_a_node_in_audit_mode_has_all_its_endpoints_in_it(tmp_path):
    async def main():
        agent = Agent(tmp_path, PolicySettings(audit=True))

        async def scenario():
            agent.sync_all()
            await agent.until(lambda: len(agent.endpoints.rows) == 2)
            assert all(row.audit for row in agent.endpoints.rows.values())

        await running(agent, scenario)

    asyncio.run(main())


def test_an_endpoint_in_audit_mode_leaves_it_when_it_is_told_to(tmp_path):
    async def main():
        agent = Agent(tmp_path)
        chosen = msgspec.structs.replace(endpoint(1, 1000), audit_wanted=True)

        async def scenario():
            agent.sync_all()
            agent.tables.endpoints.upsert(chosen)
            await agent.until(
                lambda: [row.audit for row in agent.endpoints.rows.values()] == [True, False]
            )
            # What the kernel holds is no choice.
            agent.tables.endpoints.upsert(msgspec.structs.replace(endpoint(1, 1000), audit=True))
            await agent.until(lambda: not any(row.audit for row in agent.endpoints.rows.values()))

        await running(agent, scenario)

    asyncio.run(main())


def test_addresses_of_pods_follow_the_ipcache_where_cidr_rules_match_them(tmp_path):
    async def main():
        agent = Agent(tmp_path, PolicySettings(cidr_matches=frozenset(["pods"])))
        key = prefix_key(ip_network("10.1.2.3"))

        async def scenario():
            agent.sync_all()
            agent.tables.ipcache.upsert(IpcacheRow(key, 1002, source="local"))
            agent.tables.ipcache.mark_synced()
            spec = {"endpointSelector": {}, "ingress": [{"fromCIDR": ["10.1.2.0/24"]}]}
            agent.put("block", spec)
            told = agent.service.sync._rule_prefixes
            await agent.until(lambda: [one[0] for one in told.addresses.values()] == [1002])
            agent.tables.ipcache.upsert(IpcacheRow(key, 1001, source="local"))
            await agent.until(lambda: [one[0] for one in told.addresses.values()] == [1001])
            agent.tables.ipcache.upsert(IpcacheRow(key, 1, source="node"))
            await agent.until(lambda: not told.addresses)

        await running(agent, scenario)

    asyncio.run(main())


def test_a_file_and_an_object_of_one_name_both_count_each_by_itself(tmp_path):
    async def main():
        agent = Agent(tmp_path)

        def has(name, source):
            status = agent.status(name, source)
            return (status.revision > 0, status.endpoints, bool(status.error)) if status else None

        async def scenario():
            agent.sync_all()
            web, db = ({"matchLabels": {"app": app}} for app in ("web", "db"))
            agent.put("p", {"endpointSelector": web, "ingress": [{}]})
            agent.put("p", {"endpointSelector": db, "ingress": [{}]}, source="file")
            await agent.until(lambda: has("p", "file") == (True, (2,), False))
            assert has("p", "") == (True, (1,), False)
            assert all(row.ingress_enforced for row in agent.endpoints.rows.values())
            agent.put("p", {"endpointSelector": 1}, 2)
            await agent.until(lambda: has("p", "") == (True, (1,), True))
            assert has("p", "file") == (True, (2,), False)
            agent.tables.policies.delete(("CiliumNetworkPolicy", "default", "p", ""))
            await agent.until(lambda: agent.status("p") is None)
            assert [row.ingress_enforced for row in agent.endpoints.rows.values()] == [False, True]
            assert has("p", "file") == (True, (2,), False)

        await running(agent, scenario)

    asyncio.run(main())


def test_a_policy_takes_effect_and_says_where(tmp_path):
    async def main():
        agent = Agent(tmp_path)
        agent.sync_all()

        async def scenario():
            agent.put("p", WEB_FROM_JOB)
            await agent.until(lambda: agent.status("p") is not None and agent.status("p").revision)
            assert agent.status("p").endpoints == (1,)
            assert agent.endpoints.rows[1].ingress_enforced
            assert agent.endpoints.rows[1].generation >= agent.status("p").revision
            agent.tables.policies.delete(("CiliumNetworkPolicy", "default", "p", ""))
            await agent.until(lambda: not agent.endpoints.rows[1].ingress_enforced)
            assert agent.status("p") is None

        await running(agent, scenario)

    asyncio.run(main())


def test_a_refused_update_leaves_the_last_good_policy_in_force(tmp_path):
    async def main():
        agent = Agent(tmp_path)
        agent.sync_all()

        async def scenario():
            agent.put("p", WEB_FROM_JOB)
            await agent.until(lambda: agent.status("p") is not None and agent.status("p").revision)
            rows = dict(agent.rows.rows)
            agent.put("p", {**WEB_FROM_JOB, "ingres": []}, generation=2)
            await agent.until(lambda: agent.status("p").generation == 2)
            assert "did you mean ingress?" in agent.status("p").error
            assert agent.rows.rows == rows

        await running(agent, scenario)

    asyncio.run(main())


def test_a_named_port_follows_the_pods_that_have_it(tmp_path):
    async def main():
        agent = Agent(tmp_path)
        agent.sync_all()
        to_db = {
            "endpointSelector": {"matchLabels": {"app": "web"}},
            "egress": [{"toPorts": [{"ports": [{"port": "sql", "protocol": "TCP"}]}]}],
        }

        async def scenario():
            agent.put("p", to_db)
            await agent.until(lambda: agent.status("p") is not None and agent.status("p").revision)
            assert 5432 not in agent.rows.entries()[0]["port"]
            ports = (NamedPort("sql", "TCP", 5432),)
            agent.tables.remote_endpoints.upsert(
                RemoteEndpoint("default", "db-9", 1001, "172.30.0.12", ("10.0.2.9",), ports)
            )
            await agent.until(lambda: 5432 in agent.rows.entries()[0]["port"])

        await running(agent, scenario)

    asyncio.run(main())


def test_an_address_with_a_new_identity_is_judged_again_once_the_ipcache_has_it(tmp_path):
    async def main():
        agent = Agent(tmp_path)
        agent.sync_all()
        remote = RemoteEndpoint("default", "r", 1001, "172.30.0.12", ("10.0.2.9",))
        agent.tables.remote_endpoints.upsert(remote)

        async def scenario():
            await agent.until(lambda: len(agent.endpoints.rows) == 2)
            before = agent.endpoints.rows[1].generation
            moved = RemoteEndpoint("default", "r", 1002, "172.30.0.12", ("10.0.2.9",))
            revision = agent.tables.remote_endpoints.upsert(moved)
            for _ in range(20):
                await asyncio.sleep(0)
            assert agent.endpoints.rows[1].generation == before
            agent.tables.remote_endpoints.reconciled("ipcache", revision)
            await agent.until(lambda: agent.endpoints.rows[1].generation > before)

        await running(agent, scenario)

    asyncio.run(main())


def test_the_endpoints_of_a_policy_follow_pods_without_a_word_of_policy(tmp_path):
    async def main():
        agent = Agent(tmp_path)
        endpoints = agent.tables.endpoints

        async def scenario():
            agent.sync_all()
            agent.put("p", WEB_FROM_JOB)
            agent.put(
                "other", {"endpointSelector": {"matchLabels": {"app": "db"}}, "ingress": [{}]}
            )
            await agent.until(lambda: (found := agent.status("p")) and found.endpoints == (1,))
            for row, expected in (
                (endpoint(3, 1000), (1, 3)),
                (endpoint(2, 1000), (1, 2, 3)),
                (endpoint(1, 1002), (2, 3)),
            ):
                endpoints.upsert(row)
                await agent.until(lambda: agent.status("p").endpoints == expected)  # noqa: B023  # awaited within this turn of the loop
            agent.tables.identities.upsert(IdentityRow(1000, _labels("db")))
            await agent.until(lambda: agent.status("p").endpoints == ())
            assert agent.status("other").endpoints == (2, 3)
            endpoints.delete(3)
            await agent.until(lambda: agent.status("other").endpoints == (2,))
            agent.tables.policies.delete(("CiliumNetworkPolicy", "default", "p", ""))
            await agent.until(lambda: agent.status("p") is None)
            assert agent.status("other").endpoints == (2,)

        await running(agent, scenario)

    asyncio.run(main())
