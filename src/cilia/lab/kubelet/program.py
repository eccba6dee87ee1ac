"""`cilia lab kubelet --config FILE`: the process."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from cilia.lab.kubelet.config import KubeletConfig, read_config
from cilia.lab.kubelet.service import Kubelet
from cilia.lab.kubelet.shim import linux
from cilia.model.errors import CiliaError
from cilia.runtime.locks import ProcessLock
from cilia.runtime.logs import set_up_logs
from cilia.wire.kubernetes import KubernetesClient

log = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Runs the kubelet until SIGTERM or SIGINT; its pods go on without it."""
    parser = argparse.ArgumentParser(prog="cilia lab kubelet", description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON, see KubeletConfig")
    options = parser.parse_args(argv)
    set_up_logs(os.environ.get("CILIA_LOG_LEVEL", "info"))
    try:
        config = read_config(options.config)
        _enter_node(config)
        with ProcessLock(config.site.run / "kubelet.pid", f"a kubelet for {config.site.name}"):
            asyncio.run(_run(config))
    except (CiliaError, OSError, ValueError) as error:
        sys.exit(f"cilia lab kubelet: {error}")


async def _run(config: KubeletConfig) -> None:
    loop = asyncio.get_running_loop()
    async with (
        KubernetesClient.from_kubeconfig(config.kubeconfig) as api,
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(Kubelet(config, api).run(lambda: log.info("kubelet is ready")))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)


def _enter_node(config: KubeletConfig) -> None:
    """Moves this process into the node's network, where probes must come from."""
    if config.site.netns is not None and not os.path.samestat(
        os.stat(config.site.netns), os.stat("/proc/self/ns/net")
    ):
        linux.enter(config.site.netns, linux.CLONE_NEWNET)
