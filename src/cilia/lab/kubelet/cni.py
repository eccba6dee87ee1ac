"""Running the CNI plugin chain, as a container runtime does.

Source: CNI specification 1.1.0, sections 2 to 5.
"""

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cilia.model.errors import CiliaError

log = logging.getLogger(__name__)

Object = dict[str, Any]
_DEADLINE_S = 60.0
LOOK_S = 0.05
"""Between two looks for a network configuration that is not there yet."""


class CniError(CiliaError):
    """A plugin, or its configuration, failed.

    Attributes:
        code: CNI error code; 0 when the plugin gave none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class NetworkMissing(CniError):
    """There is no network configuration yet: the network's agent has not written it."""


class Attachment(msgspec.Struct, frozen=True):
    """One pod's place in the network, as plugins are told of it."""

    container_id: str
    netns: str
    namespace: str
    pod: str
    uid: str


def load_network(folder: Path) -> Object:
    """The first network configuration list in a folder, by file name.

    Raises:
        NetworkMissing: There is none.
        CniError: It is not a configuration list.
    """
    paths = sorted(folder.glob("*.conflist")) if folder.is_dir() else []
    if not paths:
        raise NetworkMissing(f"network plugin is not ready: no *.conflist in {folder}")
    try:
        network: Object = json.loads(paths[0].read_text(encoding="utf-8"))
        if not isinstance(network["plugins"], list) or not isinstance(network["name"], str):
            raise TypeError("name must be a string, plugins a list")
    except (ValueError, KeyError, TypeError) as error:
        raise CniError(f"{paths[0]} is not a CNI configuration list: {error}") from error
    return network


async def wait_network(folder: Path, limit_s: float) -> bool:
    """Waits until there is a network configuration list, `limit_s` seconds at most.

    Returns:
        Whether it had to wait.
    """
    deadline, waited = time.monotonic() + limit_s, False
    while not any(folder.glob("*.conflist")) and time.monotonic() < deadline:
        waited = True
        await asyncio.sleep(LOOK_S)
    return waited


def addresses(result: Object) -> list[str]:
    """The pod's addresses in a plugin's result, without prefix lengths.

    >>> addresses({"ips": [{"address": "10.0.1.5/32"}]})
    ['10.0.1.5']
    """
    return [item["address"].split("/")[0] for item in result.get("ips") or []]


async def add(network: Object, attachment: Attachment, folders: Sequence[Path]) -> Object:
    """Connects a pod; the last plugin's result.

    Raises:
        CniError: A plugin failed, is missing, or took too long.
    """
    previous: Object | None = None
    for plugin in network["plugins"]:
        config = _plugin_config(network, plugin, previous)
        previous = await _execute("ADD", plugin["type"], config, attachment, folders)
    return previous or {}


async def delete(
    network: Object, attachment: Attachment, folders: Sequence[Path], previous: Object | None
) -> None:
    """Disconnects a pod; plugins run in the opposite order.

    Raises:
        CniError: A plugin failed.
    """
    for plugin in reversed(network["plugins"]):
        config = _plugin_config(network, plugin, previous)
        await _execute("DEL", plugin["type"], config, attachment, folders)


def _plugin_config(network: Object, plugin: Object, previous: Object | None) -> Object:
    config = {"name": network["name"], "cniVersion": network.get("cniVersion", "1.0.0"), **plugin}
    config.pop("capabilities", None)
    if previous is not None:
        config["prevResult"] = previous
    return config


async def _execute(
    command: str, kind: str, config: Object, attachment: Attachment, folders: Sequence[Path]
) -> Object:
    search = os.pathsep.join(str(folder) for folder in folders)
    program = shutil.which(kind, path=search)
    if program is None:
        raise CniError(f"CNI plugin {kind} is not in {search}")
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": attachment.namespace,
        "K8S_POD_NAME": attachment.pod,
        "K8S_POD_INFRA_CONTAINER_ID": attachment.container_id,
        "K8S_POD_UID": attachment.uid,
    }
    env = {
        **os.environ,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_NETNS": attachment.netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": search,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
    }
    process = await asyncio.create_subprocess_exec(
        program, env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_DEADLINE_S):
            out, err = await process.communicate(json.dumps(config).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CniError(f"CNI plugin {kind} {command}: no answer in {_DEADLINE_S:.0f} s") from None
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return _outcome(kind, command, process.returncode or 0, out, err)


def _outcome(kind: str, command: str, code: int, out: bytes, err: bytes) -> Object:
    try:
        result = json.loads(out) if out.strip() else {}
    except ValueError:
        code = code or 1
        result = {"msg": f"the answer is not JSON: {out.decode(errors='replace').strip()}"}
    if code == 0 and isinstance(result, dict) and "code" not in result:
        return result
    told = result if isinstance(result, dict) else {}
    said = [str(told.get("msg", "")), str(told.get("details", ""))]
    text = ": ".join(part for part in said if part) or err.decode(errors="replace").strip()
    number = told.get("code", 0)
    raise CniError(
        f"CNI plugin {kind} {command}: {text or f'exit code {code}'}",
        number if isinstance(number, int) else 0,
    )
