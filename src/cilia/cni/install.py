"""Puts the plugin and the network configuration where container runtimes look."""

import json
import os
import sys
from pathlib import Path

from cilia.cni import plugin
from cilia.model.site import NodeSite

PLUGIN = "cilia-cni"
CONFIGURATION = "05-cilia.conflist"
"""Sorted before the files of other networks: the runtime takes the first."""


def interpreter() -> str:
    """The Python behind this one: without a virtual environment, it starts faster."""
    return os.path.realpath(sys.executable)


def configuration(site: NodeSite) -> str:
    """The network configuration list of a node, as JSON."""
    content = {
        "cniVersion": "1.1.0",
        "name": "cilia",
        "plugins": [
            {
                "type": PLUGIN,
                "socket": str(site.agent_socket),
                # A runtime that has labels for pods may say them; Kubernetes' say nothing.
                "capabilities": {"labels": True},
            }
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def install(site: NodeSite, plugins: Path, configurations: Path | None = None) -> None:
    """Writes the executable and the configuration list; both appear whole or not at all.

    The list comes last: a runtime that sees it finds the plugin.

    Args:
        site: The node whose agent the plugin shall ask.
        plugins: Folder for `cilia-cni`, as /opt/cni/bin.
        configurations: Folder for `05-cilia.conflist`, as /etc/cni/net.d; by default the
            same folder.
    """
    # -I and -S: no user's modules, no site-packages, half the start-up.
    source = Path(plugin.__file__).read_text()
    _replace(plugins / PLUGIN, f"#!{interpreter()} -IS\n{source}", 0o755)
    _replace((configurations or plugins) / CONFIGURATION, configuration(site), 0o644)


def _replace(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(mode)
    os.replace(fresh, path)
