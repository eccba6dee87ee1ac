"""The kubelet's service: connects the pods' source, the workers, the node and the socket."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable

from cilia.lab.images.tools import compile_programs
from cilia.lab.kubelet import launch, sandbox
from cilia.lab.kubelet.config import KubeletConfig
from cilia.lab.kubelet.events import EventRecorder
from cilia.lab.kubelet.node import NodeReporter, NodeServices
from cilia.lab.kubelet.pod import Object, parse_pod
from cilia.lab.kubelet.ports import Api
from cilia.lab.kubelet.runtime import Spawner
from cilia.lab.kubelet.sandbox import Sandbox
from cilia.lab.kubelet.server import serve
from cilia.lab.kubelet.worker import Worker
from cilia.wire.kubernetes import Changed, Synced

log = logging.getLogger(__name__)

_AGAIN_S = 5.0
_SETTLE_S = 5.0


class Kubelet:
    """One node's kubelet."""

    def __init__(self, config: KubeletConfig, api: Api) -> None:
        self._config = config
        self._api = api
        self._events = EventRecorder(api, config.site.name)
        self._services = NodeServices(config, api, self._events, Spawner())
        self._adopted: dict[str, Sandbox] = {}
        self._workers: dict[str, Worker] = {}
        self._synced = asyncio.Event()

    async def worker(self, namespace: str, name: str) -> Worker | None:
        """The worker of a pod, by name; a kubelet that just came back looks first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await self._synced.wait()
                found = self._find(namespace, name)
                if found is not None:
                    await found.settled.wait()
        return self._find(namespace, name)

    def _find(self, namespace: str, name: str) -> Worker | None:
        for worker in self._workers.values():
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == (namespace, name):
                return worker
        return None

    async def run(self, ready: Callable[[], None]) -> None:
        """Runs until it is cancelled; pods stay.

        Args:
            ready: Called once the socket is served and earlier pods are adopted.
        """
        self._config.site.run.mkdir(parents=True, exist_ok=True)
        self._config.site.state.mkdir(parents=True, exist_ok=True)
        compile_programs()
        await self._services.spawner.start()
        try:
            await self._adopt()
            async with serve(self._config.socket, self.worker, self._config.site.state):
                ready()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._events.run())
                    group.create_task(NodeReporter(self._config, self._api, self._events).run())
                    group.create_task(self._follow_pods(group))
        finally:
            await self._services.spawner.stop()

    async def _adopt(self) -> None:
        folder = sandbox.pods_folder(self._config)
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.iterdir()):
            found = await sandbox.adopt(self._config, path)
            if found is not None:
                self._adopted[found.uid] = found
        known = {*self._adopted}
        cgroups = self._config.site.cgroup / "pods"
        for path in cgroups.iterdir() if cgroups.is_dir() else ():
            if path.is_dir() and path.name not in known:
                await sandbox.remove_cgroup(path)
        log.info("adopted pods", extra={"count": len(known)})

    async def _follow_pods(self, group: asyncio.TaskGroup) -> None:
        name = self._config.site.name
        async for change in self._api.list_watch(
            "/api/v1/pods", field_selector=f"spec.nodeName={name}"
        ):
            if isinstance(change, Synced):
                await self._sync(group, list(change.items))
                self._synced.set()
            elif isinstance(change, Changed):
                self._take(group, change.item)
            else:
                self._drop(change.item["metadata"]["uid"])

    async def _sync(self, group: asyncio.TaskGroup, objects: list[Object]) -> None:
        for obj in objects:
            self._take(group, obj)
        present = {obj["metadata"]["uid"] for obj in objects}
        for uid in set(self._workers) - present:
            self._drop(uid)
        orphans = [self._adopted.pop(uid) for uid in list(self._adopted) if uid not in present]
        for orphan in orphans:
            log.info("remove a pod that is gone", extra={"pod": orphan.record.attachment.pod})
            await orphan.destroy()
        self._remove_leftovers(present)

    def _take(self, group: asyncio.TaskGroup, obj: Object) -> None:
        try:
            pod = parse_pod(obj)
        except ValueError as error:
            meta = obj.get("metadata", {})
            subject = {
                "kind": "Pod",
                **{key: meta.get(key) for key in ("namespace", "name", "uid")},
            }
            self._events.record(subject, "FailedValidation", str(error), warning=True)
            return
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        worker = Worker(self._services, pod, self._adopted.pop(uid, None))
        self._workers[uid] = worker
        group.create_task(self._work(uid, worker))

    async def _work(self, uid: str, worker: Worker) -> None:
        while not await self._work_once(worker):
            await asyncio.sleep(_AGAIN_S)
            failed, worker = worker, Worker(self._services, worker.pod, worker.sandbox)
            self._workers[uid] = worker
            if failed.is_gone:
                worker.remove()
        self._workers.pop(uid, None)

    async def _work_once(self, worker: Worker) -> bool:
        """Runs a worker; False: it failed."""
        try:
            await worker.run()
        except Exception:
            # The boundary of one pod: what breaks it must not stop the others.
            log.exception("pod worker failed", extra={"pod": worker.pod.name})
            text = "the kubelet failed on this pod and begins anew; its log says why"
            worker.report("FailedSync", text, warning=True)
            return False
        return True

    def _drop(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.remove()

    def _remove_leftovers(self, present: set[str]) -> None:
        """Removes files of pods that went while no kubelet was there."""
        state = self._config.site.state
        pods = state / "pods"
        for path in pods.iterdir() if pods.is_dir() else ():
            if path.name not in present and path.name not in self._workers:
                shutil.rmtree(path, ignore_errors=True)
        logs = launch.log_root(state)
        for path in logs.iterdir() if logs.is_dir() else ():
            uid = path.name.rpartition("_")[2]
            if uid not in present and uid not in self._workers:
                shutil.rmtree(path, ignore_errors=True)
