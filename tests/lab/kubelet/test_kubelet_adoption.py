"""A kubelet that comes back finds its pods as they went on."""

import asyncio
import os
import signal

from lab.kubelet.harness import Lab, condition, shell


def restarts(lab: Lab) -> int:
    return lab.pod("one")["status"]["containerStatuses"][0]["restartCount"]


def test_pods_run_on_and_are_adopted(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("echo up; while :; do sleep 0.1; done"))
        before = await lab.wait_running("one")
        calls = (lab.cni / "calls").read_text()
        identity = before["status"]["containerStatuses"][0]["containerID"]
        await lab.stop()
        await lab.start()
        assert await lab.exec("one", "echo", "hi") == (0, b"hi\n", b"")
        after = await lab.wait_running("one")
        assert after["status"]["containerStatuses"][0]["containerID"] == identity
        assert restarts(lab) == 0
        assert (lab.cni / "calls").read_text() == calls

    play(scenario)


def test_an_exit_while_nobody_looked_is_known_afterwards(play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "echo up; while [ ! -e /s/stop ]; do sleep 0.05; done; echo down; exit 9"
        await lab.run_pod(
            "one",
            shell(script, volumeMounts=[{"name": "s", "mountPath": "/s"}]),
            restartPolicy="Never",
            volumes=[{"name": "s", "hostPath": {"path": str(lab.folder / "shared")}}],
        )
        await lab.wait_running("one")
        await lab.stop()
        (lab.folder / "shared" / "stop").touch()
        await lab.start()
        await lab.wait(lambda: lab.pod("one")["status"]["phase"] == "Failed", "failed")
        ended = lab.pod("one")["status"]["containerStatuses"][0]["state"]["terminated"]
        assert ended["exitCode"] == 9
        assert await lab.logs("one") == "up\ndown\n"

    play(scenario)


def test_a_pod_deleted_meanwhile_is_removed(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        await lab.stop()
        del lab.api.objects["/api/v1/namespaces/default/pods/one"]
        await lab.start()

    play(scenario)


def test_a_dead_sandbox_is_made_anew(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        uid = lab.pod("one")["metadata"]["uid"]
        procs = lab.config.site.cgroup / "pods" / uid / "sandbox" / "cgroup.procs"
        os.kill(int(procs.read_text().split()[0]), signal.SIGKILL)
        await lab.wait(lambda: "SandboxChanged" in lab.reasons(), "event")
        await lab.wait(lambda: restarts(lab) == 1 and condition(lab.pod("one"), "Ready"), "back")
        assert lab.pod("one")["status"]["podIP"] == "10.99.0.3"

    play(scenario)


def test_a_sandbox_that_died_meanwhile_is_cleaned_up_and_made_anew(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        await lab.stop()
        (lab.config.site.cgroup / "pods" / "cgroup.kill").write_text("1")
        await asyncio.to_thread(_wait_empty, lab)
        await lab.start()
        await lab.wait(lambda: restarts(lab) == 1 and condition(lab.pod("one"), "Ready"), "back")

    play(scenario)


def _wait_empty(lab: Lab) -> None:
    events = lab.config.site.cgroup / "pods" / "cgroup.events"
    while "populated 1" in events.read_text():
        pass


def test_a_pod_that_ended_is_not_run_again(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("exit 0"), restartPolicy="Never")
        await lab.wait(lambda: lab.pod("one")["status"]["phase"] == "Succeeded", "succeeded")
        calls = (lab.cni / "calls").read_text
        await lab.wait(lambda: "DEL" in calls(), "sandbox given back")
        await lab.stop()
        await lab.start()
        await lab.run_pod("two", shell("sleep 1000"))
        await lab.wait_running("two")
        assert calls().count("ADD") == 2
        assert lab.pod("one")["status"]["phase"] == "Succeeded"

    play(scenario)
