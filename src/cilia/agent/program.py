"""`cilia agent --config FILE`: one a node."""

import asyncio
import contextlib
import gc
import logging
import os
import platform
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import uvloop

from cilia.agent.settings import AgentSettings, node_site
from cilia.agent.wiring import run_agent
from cilia.kernel import features, mounts
from cilia.model.errors import CiliaError
from cilia.runtime.files import raise_file_limit
from cilia.runtime.locks import ProcessLock
from cilia.runtime.logs import set_up_logs
from cilia.runtime.settings import Sourced, load_settings

log = logging.getLogger(__name__)

FAILED = 1
YOUNG_OBJECTS = 20_000
"""New objects between two collections: tables fill with rows that live long."""


def main(arguments: list[str]) -> None:
    """Runs the agent until SIGTERM; exit code 1 with one line when it cannot."""
    try:
        sourced = read_settings(arguments)
        settings = sourced.values
        set_up_logs(settings.log_level, settings.log_format)
        raise_file_limit()
        features.require(features.features())
        node = settings.node_name or platform.node()
        cgroup = Path(settings.cgroup) if settings.cgroup else mounts.cgroup2_root()
        site = node_site(settings, node, cgroup)
        with ProcessLock(site.run / "agent.pid", f"an agent for node {node}"):
            # What is loaded now stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(YOUNG_OBJECTS, 20, 20)
            uvloop.run(until_signal(run_agent(sourced, site)))
    except* CiliaError as errors:
        for error in leaves(errors):
            print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILED)


def read_settings(arguments: list[str]) -> Sourced[AgentSettings]:
    """Returns the settings of these words: `--config FILE` first, then flags."""
    file = None
    if arguments[:1] == ["--config"] and len(arguments) > 1:
        file, arguments = Path(arguments[1]), arguments[2:]
    return load_settings(AgentSettings, file=file, environment=os.environ, flags=arguments)


async def until_signal(work: Coroutine[None, None, None]) -> None:
    """Runs `work` until it ends or SIGTERM or SIGINT comes."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name="agent")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
    log.info("agent stopped")


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Returns the errors in a group of groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
