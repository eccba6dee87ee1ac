"""A node for tests: its namespace, loaded programs, endpoints, and the CNI socket.

Identities and policy are small stand-ins behind the seams that the endpoint room
declares: numbers in order of asking, and "everything is allowed" as soon as an
endpoint has an identity.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec

from cilia.cni.install import PLUGIN, install
from cilia.datapath import loader
from cilia.datapath.attach import Attacher, Attachment, ensure_host_device, pod_plan
from cilia.datapath.config import DatapathConfig
from cilia.endpoint.devices import PodDevices
from cilia.endpoint.handler import CniHandler
from cilia.endpoint.kernel import PodKernel
from cilia.endpoint.plumbing import Plumbing
from cilia.endpoint.service import EndpointService
from cilia.endpoint.settings import EndpointSettings
from cilia.endpoint.store import EndpointStore
from cilia.ipam import HostScope
from cilia.kernel import links, netns
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.rtnetlink import VethEnd, create_veth, link
from cilia.model.labels import LabelSet
from cilia.model.site import NodeSite
from cilia.state.endpoints import EndpointState
from cilia.state.namespaces import Namespace
from cilia.state.pods import Pod
from cilia.state.tables import Tables
from cilia.wire.unixhttp import Request, Response, UnixServer, json_response

ROUTERS = (ip_address("10.0.1.1"), ip_address("fd00:10:0:1::1"))


class Allowed(msgspec.Struct, frozen=True):
    """What policy says of an endpoint that no policy selects."""

    policy: int = 1
    generation: int = 1
    ingress_enforced: bool = False
    egress_enforced: bool = False
    audit: bool = False


class Numbers:
    """Identities in order of asking; `answering` cleared: the API server is away."""

    def __init__(self) -> None:
        self.held: list[LabelSet] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self._known: dict[LabelSet, int] = {}

    async def allocate(self, labels: LabelSet) -> int:
        """The number of a label set, as soon as somebody answers."""
        await self.answering.wait()
        self.held.append(labels)
        return self._known.setdefault(labels, 256 + len(self._known))

    def restore(self, labels: LabelSet, number: int) -> None:
        """The number that it had."""
        self._known[labels] = number
        self.held.append(labels)

    def release(self, labels: LabelSet) -> None:
        """One hold less."""
        self.held.remove(labels)


class Node:
    """One agent's endpoint side, running."""

    def __init__(self, site: NodeSite, *, wait_s: float = 5.0, bits: int = 24) -> None:
        self.site = site
        self.tables = Tables()
        self.identities = Numbers()
        self.addresses = HostScope([ip_network(f"10.0.1.0/{bits}"), ip_network("fd00:10:0:1::/64")])
        with NetlinkSocket(site.netns) as connection:
            host = ensure_host_device(connection, 1500)
            if link(connection, "eth0") is None:
                ends = (VethEnd("eth0", "02:00:00:00:00:0a"), VethEnd("net", "02:00:00:00:00:0b"))
                connection.commit(create_veth(*ends, 1500))
            net = link(connection, "eth0")
        assert net is not None
        config = DatapathConfig(
            node_v4=ip_address("172.30.0.11"),
            node_v6=ip_address("fd00:30::11"),
            router_v4=ROUTERS[0],
            router_v6=ROUTERS[1],
            pods_v4=ip_network("10.0.0.0/16"),
            pods_v6=ip_network("fd00:10::/48"),
            net_ifindex=net.index,
            host_ifindex=host.index,
            host_mac=host.mac,
        )
        self.loaded = loader.load(site, config, capacities={"conntrack": 4096, "nat": 4096})
        self.attacher = Attacher(site, self.loaded.programs)
        self.endpoints = EndpointService(
            EndpointSettings(*ROUTERS, ready_wait_s=wait_s),
            self.tables,
            Plumbing(
                PodDevices(site.netns, ROUTERS),
                PodKernel(site, self.loaded.maps, self.attacher),
                EndpointStore(site.state / "endpoints"),
            ),
            self.addresses,
            self.identities,
        )
        self.allow = asyncio.Event()
        self.allow.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        """Runs endpoints, policy's stand-in and the CNI socket."""
        self.tables.namespaces.upsert(Namespace("default", ()))
        handler = CniHandler(self.endpoints)

        async def cni(request: Request) -> Response:
            status, answer = await handler.handle(
                request.match_info["command"], await request.read()
            )
            return json_response(answer, status)

        server = UnixServer(self.site.agent_socket, [("POST", "/v1/cni/{command}", cni)])
        async with asyncio.TaskGroup() as group:
            tasks = []
            for service in (self.endpoints, server):
                ready = asyncio.Event()
                tasks.append(group.create_task(service.run(ready)))
                await ready.wait()
            tasks.append(group.create_task(self._allow_all()))
            yield self
            for task in tasks:
                task.cancel()

    def guarded(self) -> int:
        """How many pods' devices carry their program."""
        plans = [pod_plan(one.device, one.ifindex) for one in self.endpoints.records.values()]
        plan = [one for each in plans for one in each]
        return sum(number > 0 for number in programs_at(self.site, self.attacher, *plan))

    async def _allow_all(self) -> None:
        with self.tables.endpoints.watch() as watch:
            async for changes in watch:
                await self.allow.wait()
                for change in changes.changes:
                    row = change.new
                    if row is not None and row.state is EndpointState.WAITING_TO_REGENERATE:
                        self.endpoints.assign({row.id: Allowed()})

    def place_pod(self, name: str, **labels: str) -> None:
        """Kubernetes puts a pod on this node."""
        self.tables.pods.upsert(Pod("default", name, f"uid-{name}", tuple(sorted(labels.items()))))


class Runtime:
    """A container runtime that starts the installed plugin."""

    def __init__(self, site: NodeSite, folder: Path) -> None:
        install(site, folder)
        self._plugin = folder / PLUGIN
        self.config: dict[str, Any] = {
            "cniVersion": "1.1.0", "name": "cilia", "type": PLUGIN,
            "socket": str(site.agent_socket),
        }  # fmt: skip

    async def run(
        self, command: str, pod: str = "", netns: Path | str = "", **config: Any
    ) -> tuple[int, Any]:
        """Exit status of the plugin, and what it printed as JSON (None: nothing)."""
        arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"
        process = await asyncio.create_subprocess_exec(
            self._plugin,
            env={
                "CNI_COMMAND": command, "CNI_CONTAINERID": f"box-{pod}", "CNI_NETNS": str(netns),
                "CNI_IFNAME": "eth0", "CNI_PATH": str(self._plugin.parent),
                "CNI_ARGS": f"{arguments};K8S_POD_UID=uid-{pod}",
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        text = json.dumps({**self.config, **config}).encode()
        output, _ = await process.communicate(text)
        return process.returncode or 0, json.loads(output) if output else None


def programs_at(site: NodeSite, attacher: Attacher, *plan: Attachment) -> list[int]:
    """The id of the program at each place, on TCX or, below kernel 6.6, on clsact."""
    if attacher.has_tcx:
        held = attacher.attached()
        facts = [held.get(one.pin) for one in plan]
        return [
            fact.program_id if fact is not None and fact.ifindex == one.ifindex else 0
            for fact, one in zip(facts, plan, strict=True)
        ]
    with netns.inside(site.netns):
        return [links.clsact_program(one.ifindex, one.hook) for one in plan]


def site_of(name: str, namespace: Path, folder: Path, cgroup: Path) -> NodeSite:
    """A node in a test's own places."""
    return NodeSite(
        name=name,
        netns=str(namespace),
        bpffs=Path("/sys/fs/bpf") / f"{name}-node",
        cgroup=cgroup,
        state=folder / "state",
        run=folder / "run",
    )


def own_name(suffix: str) -> str:
    """A name that the leak check knows as ours."""
    return f"ct-{os.getpid()}-{suffix}"
