"""How full the kernel's maps are: looked at in the background, never when somebody asks.

Counting the rows of a map reads all of them. The pause between two looks grows with what a
look costs, so that it never takes more than a fiftieth of a core.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client.metrics_core import Metric

from cilia.agent.metrics.families import look, number
from cilia.datapath import loader
from cilia.datapath.maps.capacity import MapUsage, usages
from cilia.kernel.maps import Map
from cilia.kernel.objects import Program
from cilia.model.errors import CiliaError
from cilia.model.site import NodeSite
from cilia.runtime.clock import Clock

log = logging.getLogger(__name__)

PAUSE_S = 15.0
"""Between two looks, if they are quick."""
SHARE = 0.02
"""Of a core, that looks may take."""


class Sample(msgspec.Struct, frozen=True):
    """One look."""

    usages: tuple[MapUsage, ...] = ()
    maps: int = 0
    map_bytes: int = 0
    programs: int = 0
    program_bytes: int = 0


class MapSampler:
    """A Service and a collector: looks at maps and programs, and shows the last look.

    Attributes:
        sample: The last look; an empty one before the first.
    """

    name = "map sampler"

    def __init__(
        self,
        site: NodeSite,
        maps: Mapping[str, Map],
        programs: Mapping[str, Program],
        clock: Clock,
    ) -> None:
        self.sample = Sample()
        self._site = site
        self._maps = maps
        self._programs = programs
        self._clock = clock

    async def run(self, ready: asyncio.Event) -> None:
        """Looks until cancelled."""
        ready.set()
        while True:
            began = time.perf_counter()
            try:
                self.sample = await asyncio.to_thread(self.look)
            except CiliaError as error:
                log.warning("maps not looked at", extra={"error": str(error)})
            took_s = time.perf_counter() - began
            await self._clock.sleep(max(PAUSE_S, took_s / SHARE))

    def look(self) -> Sample:
        """Returns how things are now.

        Raises:
            KernelError: A map cannot be read.
        """
        rings = [ring for _, ring in loader.rings(self._site)]
        maps = [*self._maps.values(), *rings]
        return Sample(
            tuple(usages(self._maps)),
            len(maps),
            sum(memory_bytes(each.fd) for each in maps),
            len(self._programs),
            sum(memory_bytes(each.fd) for each in self._programs.values()),
        )

    def collect(self) -> Iterable[Metric]:
        """Returns what was seen; nothing before the first look."""
        sample = self.sample
        if not sample.maps:
            return
        ordered = sorted(sample.usages, key=lambda each: each.name)
        yield look("bpf_map_pressure", [((each.name,), each.pressure) for each in ordered])
        yield look("bpf_map_capacity", [((each.name,), each.capacity) for each in ordered])
        yield number("bpf_maps", sample.maps)
        yield number("bpf_maps_virtual_memory_max_bytes", sample.map_bytes)
        yield number("bpf_progs", sample.programs)
        yield number("bpf_progs_virtual_memory_max_bytes", sample.program_bytes)


def memory_bytes(fd: int) -> int:
    """Returns the kernel memory of a map or program.

    Source: Linux kernel/bpf/syscall.c, bpf_map_show_fdinfo and bpf_prog_show_fdinfo.
    """
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "memlock":
            return int(value)
    return 0
