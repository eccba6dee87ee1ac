"""A kubelet in this process, on a node of its own, with a fake API and a tiny CNI plugin."""

import asyncio
import contextlib
import copy
import itertools
import json
import shutil
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from cilia.lab.kubelet.config import KubeletConfig
from cilia.lab.kubelet.service import Kubelet
from cilia.model.site import NodeSite
from cilia.wire.kubernetes import ApiError, Changed, Gone, Synced

Object = dict[str, Any]

PLUGIN = """#!/bin/sh
# Joins a pod to the node by a veth pair; addresses count up from 10.99.0.2.
cat >/dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS" >>"{folder}/calls"
if [ -e "{folder}/broken" ]; then
  echo '{{"code": 11, "msg": "the network is not ready", "details": "try again"}}'; exit 1
fi
host=ve$(echo "$CNI_CONTAINERID" | cut -c1-10)
case "$CNI_COMMAND" in
ADD)
  last=$(cat "{folder}/last" 2>/dev/null || echo 1); next=$((last + 1)); echo $next >"{folder}/last"
  ip link add "$host" type veth peer name "$CNI_IFNAME" netns "$CNI_NETNS" || exit 1
  ip link set "$host" up && ip route add "10.99.0.$next/32" dev "$host"
  ip -n "$(basename "$CNI_NETNS")" addr add "10.99.0.$next/32" dev "$CNI_IFNAME"
  ip -n "$(basename "$CNI_NETNS")" link set "$CNI_IFNAME" up
  ip -n "$(basename "$CNI_NETNS")" route add 169.254.1.1 dev "$CNI_IFNAME"
  ip -n "$(basename "$CNI_NETNS")" route add default via 169.254.1.1 dev "$CNI_IFNAME"
  echo 1 >"/proc/sys/net/ipv4/conf/$host/proxy_arp"
  echo '{{"cniVersion": "1.0.0", "ips": [{{"address": "10.99.0.'$next'/32"}}]}}' ;;
DEL) ip link del "$host" 2>/dev/null; exit 0 ;;
esac
"""


class FakeApi:
    """Pods, events and the node, in memory; the client's Protocol."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.events: list[Object] = []
        self.changed = asyncio.Event()
        self._feeds: list[asyncio.Queue[Any]] = []
        self._versions = itertools.count(1)

    async def get(self, path: str, **query: str) -> Object:
        if path.endswith("/services"):
            found = [obj for key, obj in self.objects.items() if key.startswith(path + "/")]
            return {"items": copy.deepcopy(found)}
        return copy.deepcopy(self._find(path))

    async def create(self, path: str, body: Object, **query: str) -> Object:
        if path.endswith("/events"):
            self.events.append(copy.deepcopy(body))
            self._wake()
            return body
        name = f"{path}/{body['metadata']['name']}"
        if name in self.objects:
            raise ApiError(409, "AlreadyExists", f"{name} exists")
        body = copy.deepcopy(body)
        body["metadata"].setdefault("uid", str(uuid.uuid4()))
        self.objects[name] = body
        self._changed(body)
        return body

    async def patch(self, path: str, body: Any, *, kind: str = "", **query: str) -> Object:
        if "/events/" in path:
            return {}
        obj = self._find(path.removesuffix("/status"))
        _merge(obj, copy.deepcopy(body))
        self._changed(obj)
        return obj

    async def delete(self, path: str, body: Object | None = None, **query: str) -> Object:
        obj = self._find(path)
        del self.objects[path]
        for feed in self._feeds:
            feed.put_nowait(Gone(copy.deepcopy(obj)))
        self._wake()
        return obj

    async def list_watch(
        self, path: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[Any]:
        feed: asyncio.Queue[Any] = asyncio.Queue()
        self._feeds.append(feed)
        pods = [copy.deepcopy(o) for key, o in self.objects.items() if "/pods/" in key]
        yield Synced(pods)
        while True:
            yield await feed.get()

    def _find(self, path: str) -> Object:
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def _changed(self, obj: Object) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        if obj.get("kind") == "Pod":
            for feed in self._feeds:
                feed.put_nowait(Changed(copy.deepcopy(obj)))
        self._wake()

    def _wake(self) -> None:
        self.changed.set()


def _merge(target: Object, change: Object) -> None:
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


class Lab:
    """One node, its kubelet and its API."""

    def __init__(self, folder: Path, cgroup: Path, netns: str) -> None:
        self.api = FakeApi()
        self.folder = folder
        self.cni = folder / "cni"
        self.cni.mkdir()
        plugin = self.cni / "test-veth"
        plugin.write_text(PLUGIN.format(folder=self.cni))
        plugin.chmod(0o755)
        network = {"cniVersion": "1.0.0", "name": "test", "plugins": [{"type": "test-veth"}]}
        (self.cni / "10-test.conflist").write_text(json.dumps(network))
        # Not below pytest's folder: a socket's path has at most 107 bytes.
        self.run = Path("/run") / cgroup.name
        site = NodeSite("node-1", netns, folder / "bpf", cgroup, folder / "state", self.run)
        self.config = KubeletConfig(
            site,
            folder / "kubeconfig",
            ("192.0.2.1",),
            self.cni,
            (self.cni,),
            backoff_s=0.1,
            sandbox_backoff_s=0.05,
        )
        self._kubelet: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts a kubelet in this process."""
        ready = asyncio.Event()
        # The probes' sockets must be opened in the node's network: the test runs there.
        self._kubelet = asyncio.create_task(Kubelet(self.config, self.api).run(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._kubelet, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._kubelet.done():
            await self._kubelet

    async def stop(self) -> None:
        """Stops the kubelet; its pods go on."""
        if self._kubelet is not None:
            self._kubelet.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._kubelet
            self._kubelet = None

    async def run_pod(self, name: str, *containers: Object, **spec: Any) -> Object:
        """Creates a pod."""
        return await self.api.create(
            "/api/v1/namespaces/default/pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"nodeName": "node-1", "containers": list(containers), **spec},
                "status": {"phase": "Pending"},
            },
        )

    def pod(self, name: str) -> Object:
        """The pod as the API has it."""
        return self.api.objects[f"/api/v1/namespaces/default/pods/{name}"]

    async def delete_pod(self, name: str, grace: int = 5) -> None:
        """Deletes a pod as kubectl does, and waits until it is gone."""
        path = f"/api/v1/namespaces/default/pods/{name}"
        stamp = "2026-01-01T00:00:00Z"
        meta = {"deletionTimestamp": stamp, "deletionGracePeriodSeconds": grace}
        await self.api.patch(path, {"metadata": meta})
        await self.wait(lambda: path not in self.api.objects, f"pod {name} gone")

    async def wait(self, condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """Waits until a condition on the API holds."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                shown = json.dumps(
                    [o.get("status") for k, o in self.api.objects.items() if "/pods/" in k],
                    indent=1,
                )
                told = [f"{e['reason']}: {e['message']}" for e in self.api.events]
                raise TimeoutError(f"{what}: {shown}\n{told}")
            self.api.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self.api.changed.wait()
        return found

    async def wait_running(self, name: str) -> Object:
        """Waits until all containers of a pod are ready."""
        await self.wait(lambda: condition(self.pod(name), "Ready"), f"pod {name} ready")
        return self.pod(name)

    async def logs(self, pod: str, container: str = "c", **query: str) -> str:
        """A container's log."""
        async with self._session() as session:
            url = f"http://kubelet/logs/default/{pod}/{container}"
            async with session.get(url, params=query) as answer:
                text = await answer.text()
                assert answer.status == 200, text
                return text

    async def wait_log(self, pod: str, text: str) -> str:
        """Waits until a container has said something."""
        deadline = time.monotonic() + 20
        while text not in (said := await self.logs(pod)):
            assert time.monotonic() < deadline, f"{text!r} is not in {said!r}"
            await asyncio.sleep(0.05)
        return said

    async def exec(
        self, pod: str, *command: str, stdin: bytes | None = None, tty: bool = False
    ) -> tuple[int, bytes, bytes]:
        """Runs a command as kubectl does: exit code, output, errors."""
        flags = {"stdout": "true", "stderr": "true", "stdin": str(stdin is not None).lower()}
        query = [("command", word) for word in command] + list(flags.items())
        query.append(("tty", str(tty).lower()))
        out = {1: b"", 2: b"", 3: b""}
        url = f"http://kubelet/exec/default/{pod}/c"
        async with (
            self._session() as session,
            session.ws_connect(url, params=query, protocols=("v5.channel.k8s.io",)) as socket,
        ):
            if tty:
                await socket.send_bytes(b'\x04{"Width": 99, "Height": 33}')
            if stdin is not None:
                await socket.send_bytes(b"\x00" + stdin)
                await socket.send_bytes(b"\xff\x00")
            async for message in socket:
                out[message.data[0]] += message.data[1:]
        status = json.loads(out[3])
        code = 0
        if status["status"] != "Success":
            causes = status.get("details", {}).get("causes") or [{"message": "-1"}]
            code = int(causes[0]["message"])
        return code, out[1], out[2]

    async def forward(self, pod: str, port: int, text: bytes) -> bytes:
        """What a port of a pod answers to some bytes; the status when it was refused."""
        url = f"http://kubelet/portforward/default/{pod}?port={port}"
        async with self._session() as session:
            try:
                async with session.ws_connect(url) as socket:
                    await socket.send_bytes(text)
                    return b"".join([message.data async for message in socket])
            except aiohttp.WSServerHandshakeError as error:
                return str(error.status).encode()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.UnixConnector(str(self.config.socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session

    def reasons(self) -> list[str]:
        """The reasons of all events so far."""
        return [event["reason"] for event in self.api.events]


def condition(pod: Object, kind: str) -> bool:
    """Whether a condition of a pod is true."""
    found = pod.get("status", {}).get("conditions") or []
    return any(item["type"] == kind and item["status"] == "True" for item in found)


def leftovers(lab: Lab) -> list[str]:
    """What pods have left behind: folders, cgroups, mounts, namespaces."""
    run, state, cgroup = (lab.run, lab.folder / "state", lab.config.site.cgroup)
    found = [str(path) for folder in (run / "pods", state / "pods", state / "log" / "pods")
             if folder.is_dir() for path in folder.iterdir()]  # fmt: skip
    found += [str(path) for path in (cgroup / "pods").glob("*") if path.is_dir()]
    mounts = Path("/proc/self/mountinfo").read_text()
    found += [line for line in mounts.splitlines() if str(lab.folder) in line]
    return found


def shell(script: str, image: str = "busybox", **more: Any) -> Object:
    """A container that runs a shell script."""
    return {"name": "c", "image": image, "command": ["sh", "-c", script], **more}


def interpreter() -> str:
    """The Python that runs the tests."""
    return shutil.which("python3") or sys.executable
