"""Probes decide who is ready and who is restarted."""

from lab.kubelet.harness import Lab, condition, shell

SERVER = {"name": "c", "image": "quay.io/cilium/json-mock", "ports": [
    {"name": "web", "containerPort": 8080}]}  # fmt: skip


def restarts(lab: Lab) -> int:
    return lab.pod("one")["status"]["containerStatuses"][0]["restartCount"]


def test_readiness_by_http_and_by_tcp(play) -> None:
    async def scenario(lab: Lab) -> None:
        probe = {"httpGet": {"path": "/public", "port": "web"}}
        await lab.run_pod("one", {**SERVER, "readinessProbe": probe})
        await lab.run_pod("two", {**SERVER, "readinessProbe": {"tcpSocket": {"port": 8080}}})
        await lab.wait_running("one")
        await lab.wait_running("two")

    play(scenario)


def test_a_failing_readiness_probe_keeps_the_pod_unready(play) -> None:
    async def scenario(lab: Lab) -> None:
        probe = {"httpGet": {"path": "/nowhere", "port": 8080}, "periodSeconds": 1,
                 "failureThreshold": 1}  # fmt: skip
        await lab.run_pod("one", {**SERVER, "readinessProbe": probe})
        await lab.wait(lambda: "Unhealthy" in lab.reasons(), "event")
        told = [e["message"] for e in lab.api.events if e["reason"] == "Unhealthy"]
        assert told[0] == "Readiness probe failed: HTTP probe failed with statuscode: 404"
        assert not condition(lab.pod("one"), "Ready")
        assert restarts(lab) == 0

    play(scenario)


def test_readiness_by_command_comes_and_goes(play) -> None:
    async def scenario(lab: Lab) -> None:
        probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1,
                 "failureThreshold": 1}  # fmt: skip
        await lab.run_pod("one", shell("touch /tmp/ready; sleep 1000", readinessProbe=probe))
        await lab.wait_running("one")
        await lab.exec("one", "rm", "/tmp/ready")
        await lab.wait(lambda: not condition(lab.pod("one"), "Ready"), "unready")
        await lab.exec("one", "touch", "/tmp/ready")
        await lab.wait_running("one")

    play(scenario)


def test_a_failing_liveness_probe_restarts_the_container(play) -> None:
    async def scenario(lab: Lab) -> None:
        probe = {"exec": {"command": ["test", "!", "-e", "/tmp/sick"]}, "periodSeconds": 1,
                 "failureThreshold": 1}  # fmt: skip
        await lab.run_pod("one", shell("sleep 1000", livenessProbe=probe))
        await lab.wait_running("one")
        await lab.exec("one", "touch", "/tmp/sick")
        await lab.wait(lambda: restarts(lab) == 1, "restart")
        await lab.wait_running("one")

    play(scenario)


def test_the_startup_probe_comes_first(play) -> None:
    async def scenario(lab: Lab) -> None:
        startup = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1}
        liveness = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1,
                    "failureThreshold": 1}  # fmt: skip
        await lab.run_pod("one", shell("sleep 1; touch /tmp/up; sleep 1000", startupProbe=startup,
                                       livenessProbe=liveness))  # fmt: skip
        await lab.wait_running("one")
        assert restarts(lab) == 0

    play(scenario)
