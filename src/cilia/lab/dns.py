"""`cilia lab dns`: the cluster's name server, in a pod behind service kube-dns."""

import asyncio
import logging
from pathlib import Path

import msgspec
import uvloop
from dnslib import DNSRecord

from cilia.lab.clusterzone import ClusterZone, pod_record
from cilia.lab.nameserver import NameServer, ask
from cilia.lab.page import Asked, serve_pages
from cilia.lab.zone import answer, question_of
from cilia.runtime.logs import set_up_logs
from cilia.wire.kubernetes import Changed, KubernetesClient, Synced

log = logging.getLogger(__name__)

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


class DnsConfig(msgspec.Struct, frozen=True):
    """What cluster DNS is told."""

    kubeconfig: str
    domain: str = "cluster.local"
    upstreams: tuple[str, ...] = ("1.1.1.1", "2606:4700:4700::1111")
    """Name servers for all that is not the cluster's, tried in order."""
    upstream_timeout_s: float = 2.0
    """How long one of them may take, in seconds."""
    port: int = 53
    ready_port: int = 8181
    """GET /ready there answers 200 once services and endpoints are known."""


class ClusterDns:
    """The cluster's names, kept up to date, and answers from them."""

    def __init__(self, config: DnsConfig) -> None:
        self._config = config
        self._zone = ClusterZone(config.domain)
        self._synced: set[str] = set()

    async def run(self) -> None:
        """Answers until cancelled."""
        await serve_pages(self._ready, None, self._config.ready_port)
        server = NameServer(self.resolve)
        for address in ("0.0.0.0", "::"):
            await server.listen(address, self._config.port)
        async with (
            KubernetesClient.from_kubeconfig(self._config.kubeconfig) as client,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._watch_services(client))
            group.create_task(self._watch_slices(client))

    def is_ready(self) -> bool:
        """Whether services and endpoints have been listed."""
        return self._synced == {SERVICES, SLICES}

    async def resolve(self, query: DNSRecord, over_tcp: bool) -> DNSRecord:
        """The answer to a query: our own for the cluster's names, else the world's.

        Raises:
            OSError, TimeoutError: No upstream answers, or the cluster is not known yet.
        """
        name, _ = question_of(query)
        domain = self._config.domain
        ours = name == domain or name.endswith(f".{domain}") or name in self._zone.names
        if not ours:
            return await self._forward(query, over_tcp)
        if not self.is_ready():
            raise TimeoutError("services and endpoints are not known yet")
        if (pod := pod_record(name, domain)) is not None:
            return answer(query, {name: [pod]}, domain)
        return await self._followed(query, answer(query, self._zone.names, domain), over_tcp)

    async def _followed(self, query: DNSRecord, reply: DNSRecord, over_tcp: bool) -> DNSRecord:
        """A reply whose alias leads out of the cluster, with what the world says of it."""
        aliases = [record for record in reply.rr if record.rtype == 5]
        if len(reply.rr) != 1 or not aliases or query.q.qtype == 5:
            return reply
        further = DNSRecord.question(str(aliases[0].rdata), _type_name(query))
        for record in (await self.resolve(further, over_tcp)).rr:
            reply.add_answer(record)
        return reply

    async def _forward(self, query: DNSRecord, over_tcp: bool) -> DNSRecord:
        failure: Exception = OSError("no upstream name server is set")
        for upstream in self._config.upstreams:
            try:
                timeout_s = self._config.upstream_timeout_s
                data = await ask(query.pack(), upstream, over_tcp=over_tcp, timeout_s=timeout_s)
                return DNSRecord.parse(data)
            except (OSError, TimeoutError) as error:
                failure = error
        raise failure

    async def _watch_services(self, client: KubernetesClient) -> None:
        async for event in client.list_watch(SERVICES):
            if isinstance(event, Synced):
                self._zone.replace_services(event.items)
                self._synced.add(SERVICES)
            elif isinstance(event, Changed):
                self._zone.put_service(event.item)
            else:
                self._zone.drop_service(event.item)

    async def _watch_slices(self, client: KubernetesClient) -> None:
        async for event in client.list_watch(SLICES):
            if isinstance(event, Synced):
                self._zone.replace_slices(event.items)
                self._synced.add(SLICES)
            elif isinstance(event, Changed):
                self._zone.put_slice(event.item)
            else:
                self._zone.drop_slice(event.item)

    def _ready(self, asked: Asked) -> tuple[int, str]:
        return (200, "ready\n") if self.is_ready() else (503, "not ready\n")


def _type_name(query: DNSRecord) -> str:
    return question_of(query)[1]


def main(config: Path) -> None:
    """Serves the cluster's names until it is killed."""
    set_up_logs()
    uvloop.run(ClusterDns(msgspec.json.decode(config.read_bytes(), type=DnsConfig)).run())
