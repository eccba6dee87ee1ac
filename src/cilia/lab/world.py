"""`cilia lab world`: the internet, in a namespace: a few addresses, their names, HTTP and DNS."""

import asyncio
import logging
import ssl
from pathlib import Path

import msgspec
import uvloop
from dnslib import DNSRecord

from cilia.lab.internet import NAMES, WorldConfig
from cilia.lab.nameserver import NameServer
from cilia.lab.page import Asked, serve_pages
from cilia.lab.zone import Record, address_record, answer, reverse_name
from cilia.runtime.logs import set_up_logs

log = logging.getLogger(__name__)


def world_names() -> dict[str, list[Record]]:
    """Every record of the world, reverse ones among them."""
    names: dict[str, list[Record]] = {}
    for name, addresses in NAMES.items():
        for address in addresses:
            names.setdefault(name, []).append(address_record(address))
            names.setdefault(reverse_name(address), []).append(Record("PTR", name))
    return names


def page(asked: Asked) -> tuple[int, str]:
    """What every web server of the world says: who came, and whom it reached."""
    host = asked.host or asked.local
    return 200, f"{host} at {asked.local}\nyou are {asked.peer} port {asked.peer_port}\n"


def main(config: Path) -> None:
    """Plays the world until it is killed."""
    set_up_logs()
    uvloop.run(_run(msgspec.json.decode(config.read_bytes(), type=WorldConfig)))


async def _run(config: WorldConfig) -> None:
    names = world_names()

    async def resolve(query: DNSRecord, over_tcp: bool) -> DNSRecord:
        return answer(query, names, "world")

    server = NameServer(resolve)
    for address in config.addresses:
        await server.listen(address, 53)
    await serve_pages(page, None, 80)
    if config.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(config.certificate, config.key)
        await serve_pages(page, None, 443, tls)
    log.info("the world answers", extra={"addresses": len(config.addresses)})
    await asyncio.Event().wait()
