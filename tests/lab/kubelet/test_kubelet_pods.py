"""Pods come up, run, end and leave nothing."""

import os
import re
import signal
from pathlib import Path

import pytest

from lab.kubelet.harness import Lab, condition, shell


def status_of(pod, name="c", field="containerStatuses"):
    known = {one["name"]: one for one in pod["status"].get(field, [])}
    return known.get(name, {"state": {}, "restartCount": 0})


def test_a_pod_runs_in_its_own_namespaces_with_its_own_address(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("hostname; echo ready; sleep 1000"))
        pod = await lab.wait_running("one")
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["podIP"] == "10.99.0.2"
        assert await lab.wait_log("one", "ready") == "one\nready\n"
        code, out, _ = await lab.exec("one", "ip", "-4", "-o", "addr", "show", "eth0")
        assert (code, b"10.99.0.2/32" in out) == (0, True)
        _, out, _ = await lab.exec("one", "sh", "-c", "ls /proc | grep -c '^[0-9]'")
        assert int(out) < 10
        for reason in ("Pulled", "Created", "Started"):
            await lab.wait(lambda reason=reason: reason in lab.reasons(), reason)

    play(scenario)


def test_the_plugin_is_called_as_a_runtime_calls_it(play) -> None:
    async def scenario(lab: Lab) -> None:
        pod = await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        await lab.delete_pod("one")
        add, delete = (lab.cni / "calls").read_text().splitlines()
        uid = pod["metadata"]["uid"]
        container = add.split()[1]
        assert add == (
            f"ADD {container} eth0 IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=one;"
            f"K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={uid}"
        )
        assert delete.startswith(f"DEL {container} eth0")

    play(scenario)


def test_a_sandbox_that_the_network_refuses_is_tried_again(play) -> None:
    async def scenario(lab: Lab) -> None:
        broken = lab.cni / "broken"
        broken.touch()
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait(lambda: "FailedCreatePodSandBox" in lab.reasons(), "event")
        told = [e["message"] for e in lab.api.events if e["reason"] == "FailedCreatePodSandBox"]
        assert "the network is not ready: try again" in told[0]
        assert lab.pod("one")["status"]["phase"] == "Pending"
        broken.unlink()
        await lab.wait_running("one")

    play(scenario)


@pytest.mark.parametrize(
    ("policy", "script", "phase", "code"),
    [
        ("Never", "exit 0", "Succeeded", 0),
        ("Never", "exit 3", "Failed", 3),
        ("OnFailure", "exit 0", "Succeeded", 0),
    ],
)
def test_a_pod_that_ends_has_its_phase_and_exit_code(play, policy, script, phase, code) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell(script), restartPolicy=policy)
        await lab.wait(lambda: lab.pod("one")["status"]["phase"] == phase, phase)
        ended = status_of(lab.pod("one"))["state"]["terminated"]
        assert ended["exitCode"] == code
        assert ended["reason"] == ("Completed" if code == 0 else "Error")

    play(scenario)


def test_a_killed_container_says_which_signal(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("kill -9 $$$$"), restartPolicy="Never")
        await lab.wait(lambda: lab.pod("one")["status"]["phase"] == "Failed", "failed")
        ended = status_of(lab.pod("one"))["state"]["terminated"]
        assert (ended["exitCode"], ended["signal"]) == (137, 9)

    play(scenario)


def test_a_crashing_container_is_restarted_with_back_off(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("echo run; exit 1"))
        await lab.wait(lambda: status_of(lab.pod("one"))["restartCount"] >= 2, "restarts")
        found = await lab.wait(lambda: status_of(lab.pod("one"))["state"].get("waiting"), "waiting")
        assert found["reason"] == "CrashLoopBackOff"
        assert re.match(r"back-off .*s restarting failed container=c pod=one", found["message"])
        assert status_of(lab.pod("one"))["lastState"]["terminated"]["exitCode"] == 1
        assert lab.pod("one")["status"]["phase"] == "Running"
        await lab.wait(lambda: "BackOff" in lab.reasons(), "event")
        assert await lab.logs("one", previous="true") == "run\n"
        await lab.wait(lambda: status_of(lab.pod("one"))["restartCount"] >= 4, "restarts")
        assert len(list((lab.folder / "state" / "log" / "pods").glob("*/c/*.log"))) == 2

    play(scenario)


def test_on_failure_restarts_until_it_succeeds(play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "n=$(cat /s/n 2>/dev/null || echo 0); echo $((n+1)) >/s/n; [ $n -ge 2 ]"
        await lab.run_pod(
            "one",
            shell(script, volumeMounts=[{"name": "s", "mountPath": "/s"}]),
            restartPolicy="OnFailure",
            volumes=[{"name": "s", "emptyDir": {}}],
        )
        await lab.wait(lambda: lab.pod("one")["status"]["phase"] == "Succeeded", "succeeded")
        assert status_of(lab.pod("one"))["restartCount"] == 2

    play(scenario)


def test_init_containers_run_one_after_the_other_before_the_others(play) -> None:
    async def scenario(lab: Lab) -> None:
        mounts = [{"name": "s", "mountPath": "/s"}]
        await lab.run_pod(
            "one",
            shell("cat /s/order; sleep 1000", volumeMounts=mounts),
            initContainers=[
                {**shell("echo a >>/s/order", volumeMounts=mounts), "name": "a"},
                {**shell("echo b >>/s/order", volumeMounts=mounts), "name": "b"},
            ],
            volumes=[{"name": "s", "emptyDir": {}}],
        )
        pod = await lab.wait_running("one")
        assert await lab.wait_log("one", "b") == "a\nb\n"
        first = status_of(pod, "a", "initContainerStatuses")
        assert first["state"]["terminated"]["exitCode"] == 0
        assert condition(pod, "Initialized")

    play(scenario)


def test_an_unknown_image_says_what_there_is(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", {"name": "c", "image": "example.org/no/such:v1"})
        waiting = await lab.wait(
            lambda: status_of(lab.pod("one"))["state"].get("waiting", {}).get("reason")
            == "ErrImagePull" and status_of(lab.pod("one"))["state"]["waiting"],
            "ErrImagePull",
        )  # fmt: skip
        assert "starwars" in waiting["message"]
        assert "file:///" in waiting["message"]
        await lab.wait(
            lambda: status_of(lab.pod("one"))["state"]["waiting"]["reason"] == "ImagePullBackOff",
            "ImagePullBackOff",
        )

    play(scenario)


def test_a_command_that_is_not_there_is_an_error_with_its_name(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", {"name": "c", "image": "busybox", "command": ["no-such-program"]})
        waiting = await lab.wait(
            lambda: status_of(lab.pod("one"))["state"].get("waiting", {}).get("message"), "message"
        )
        assert 'exec: "no-such-program": executable file not found in $PATH' in waiting

    play(scenario)


def test_a_folder_is_an_image(play, tmp_path) -> None:
    program = tmp_path / "image" / "usr" / "local" / "bin" / "greet"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho hello from a folder; sleep 1000\n")
    program.chmod(0o755)

    async def scenario(lab: Lab) -> None:
        image = f"file://{tmp_path}/image"
        await lab.run_pod("one", {"name": "c", "image": image, "command": ["greet"]})
        await lab.wait_running("one")
        await lab.wait_log("one", "hello from a folder")

    play(scenario)


def test_variables_come_from_everywhere(play) -> None:
    async def scenario(lab: Lab) -> None:
        base = "/api/v1/namespaces/default"
        await lab.api.create(
            f"{base}/configmaps", {"metadata": {"name": "m"}, "data": {"K": "from-map"}}
        )
        await lab.api.create(
            f"{base}/secrets", {"metadata": {"name": "s"}, "data": {"P": "c2VjcmV0"}}
        )
        await lab.api.create(
            f"{base}/services",
            {
                "metadata": {"name": "kubernetes", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]},
            },
        )
        env = [
            {"name": "A", "value": "a"},
            {"name": "B", "value": "$(A)-$(K)-$$(A)"},
            {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ]
        script = "echo $B $P $IP $NAME $KUBERNETES_SERVICE_HOST; sleep 1000"
        source = [{"configMapRef": {"name": "m"}}]
        await lab.run_pod("one", shell(script, env=env, envFrom=source))
        await lab.wait_running("one")
        said = await lab.wait_log("one", "\n")
        assert said == "a-from-map-$(A) secret 10.99.0.2 one 10.96.0.1\n"

    play(scenario)


def test_a_missing_config_map_is_named_and_awaited(play) -> None:
    async def scenario(lab: Lab) -> None:
        source = [{"configMapRef": {"name": "later"}}]
        await lab.run_pod("one", shell("echo $K; sleep 1000", envFrom=source))
        waiting = await lab.wait(
            lambda: status_of(lab.pod("one"))["state"].get("waiting", {}).get("message"), "message"
        )
        assert waiting == 'configmap "later" not found'
        await lab.api.create(
            "/api/v1/namespaces/default/configmaps",
            {"metadata": {"name": "later"}, "data": {"K": "v"}},
        )
        await lab.wait_running("one")

    play(scenario)


def test_volumes_show_config_maps_secrets_and_fields(play) -> None:
    async def scenario(lab: Lab) -> None:
        base = "/api/v1/namespaces/default"
        await lab.api.create(
            f"{base}/configmaps", {"metadata": {"name": "m"}, "data": {"a.conf": "from-map\n"}}
        )
        volumes = [
            {"name": "m", "configMap": {"name": "m"}},
            {"name": "d", "downwardAPI": {"items": [
                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]  # fmt: skip
        mounts = [
            {"name": "m", "mountPath": "/etc/m", "readOnly": True},
            {"name": "d", "mountPath": "/etc/d"},
        ]
        script = "cat /etc/m/a.conf /etc/d/name; echo; touch /etc/m/x || echo read-only; sleep 1000"
        await lab.run_pod("one", shell(script, volumeMounts=mounts), volumes=volumes)
        await lab.wait_running("one")
        said = await lab.wait_log("one", "read-only")
        assert said.startswith("from-map\none")

    play(scenario)


def test_the_resolver_asks_the_cluster(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("cat /etc/resolv.conf /etc/hostname; sleep 1000"))
        await lab.wait_running("one")
        assert await lab.wait_log("one", "one") == (
            "nameserver 10.96.0.10\n"
            "search default.svc.cluster.local svc.cluster.local cluster.local\n"
            "options ndots:5\none\n"
        )

    play(scenario)


def test_the_host_is_not_changed_and_its_keys_are_not_shown(play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "echo x >/usr/ct-escape; echo x >/etc/ct-escape; ls -A /root | wc -l; sleep 1000"
        await lab.run_pod("one", shell(script))
        await lab.wait_running("one")
        await lab.wait_log("one", "\n")
        assert not os.path.exists("/usr/ct-escape")
        assert not os.path.exists("/etc/ct-escape")

    play(scenario)


def test_a_pod_on_the_host_network_has_the_nodes_address(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"), hostNetwork=True)
        pod = await lab.wait_running("one")
        assert pod["status"]["podIP"] == "192.0.2.1"
        assert not (lab.cni / "calls").exists()

    play(scenario)


def test_deleting_gives_the_container_its_grace(play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
        await lab.run_pod("one", shell(script))
        await lab.wait_running("one")
        await lab.wait_log("one", "up")
        await lab.delete_pod("one", grace=20)
        await lab.wait(lambda: "Killing" in lab.reasons(), "event")

    play(scenario)


def test_a_container_that_ignores_the_signal_is_killed_after_its_grace(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("trap '' TERM; echo up; while :; do sleep 0.05; done"))
        await lab.wait_running("one")
        await lab.wait_log("one", "up")
        await lab.delete_pod("one", grace=1)

    play(scenario)


def test_a_pod_that_vanishes_from_the_api_is_removed(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        await lab.api.delete("/api/v1/namespaces/default/pods/one")

    play(scenario)


def test_several_containers_share_the_network(play) -> None:
    async def scenario(lab: Lab) -> None:
        server = {"name": "server", "image": "quay.io/cilium/json-mock:v1"}
        script = "curl -s --retry 50 --retry-connrefused --retry-delay 0 localhost:8080/public"
        await lab.run_pod("one", shell(f"{script}; sleep 1000"), server)
        await lab.wait_running("one")
        await lab.wait_log("one", "public information")

    play(scenario)


def test_our_own_tools_serve_where_the_host_has_none(play, monkeypatch) -> None:
    monkeypatch.setattr("cilia.lab.kubelet.starter.host_program", lambda name: None)

    async def scenario(lab: Lab) -> None:
        probe = {"tcpSocket": {"port": 8080}}
        await lab.run_pod(
            "one", {"name": "c", "image": "cilium/json-mock", "readinessProbe": probe}
        )
        await lab.wait_running("one")
        for command in ("curl -s localhost:8080/public", "wget -qO- localhost:8080/public"):
            code, out, _ = await lab.exec("one", *command.split())
            assert (code, b"public information" in out) == (0, True), command
        assert (await lab.exec("one", "nc", "-z", "-w2", "127.0.0.1", "8080"))[0] == 0
        assert (await lab.exec("one", "nslookup", "localhost"))[0] == 0
        _, out, _ = await lab.exec("one", "curl", "--version")
        assert b"cilia lab" in out

    play(scenario)


def test_pods_start_again_after_the_helper_died(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        helpers = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _is_helper(pid)]
        assert len(helpers) == 1
        os.kill(int(helpers[0]), signal.SIGKILL)
        await lab.run_pod("two", shell("sleep 1000"))
        await lab.wait_running("two")

    play(scenario)


def _is_helper(pid: str) -> bool:
    """Whether a process is the sandbox helper of the kubelet in this process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return f"PPid:\t{os.getpid()}\n" in status and "shim.spawner" in command
