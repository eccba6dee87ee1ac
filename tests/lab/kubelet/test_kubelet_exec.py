"""What kubectl exec and kubectl logs ask of the kubelet."""

import asyncio

from lab.kubelet.harness import Lab, shell


def test_exec_carries_input_output_errors_and_exit_code(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000", env=[{"name": "A", "value": "from-pod"}]))
        await lab.wait_running("one")
        script = "cat; echo $A; echo oops >&2; exit 7"
        code, out, err = await lab.exec("one", "sh", "-c", script, stdin=b"from stdin\n")
        assert (code, out, err) == (7, b"from stdin\nfrom-pod\n", b"oops\n")
        assert await lab.exec("one", "true") == (0, b"", b"")

    play(scenario)


def test_exec_takes_much_input(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        blob = b"x" * 3_000_000
        code, out, _ = await lab.exec("one", "wc", "-c", stdin=blob)
        assert (code, int(out)) == (0, len(blob))

    play(scenario)


def test_exec_gives_much_output_whole(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        code, out, _ = await lab.exec("one", "head", "-c", "3000000", "/dev/zero")
        assert (code, len(out)) == (0, 3_000_000)

    play(scenario)


def test_exec_has_a_terminal_of_the_asked_size(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        script = "until [ \"$(stty size)\" = '33 99' ]; do sleep 0.05; done; tty; exit 5"
        code, out, _ = await lab.exec("one", "sh", "-c", script, tty=True)
        assert (code, out) == (5, b"/dev/pts/0\r\n")

    play(scenario)


def test_exec_of_an_unknown_program_is_a_clear_error(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        code, _, _ = await lab.exec("one", "no-such-program")
        assert code == -1

    play(scenario)


def test_exec_runs_in_the_containers_cgroup(play) -> None:
    async def scenario(lab: Lab) -> None:
        pod = await lab.run_pod("one", shell("sleep 1000"))
        await lab.wait_running("one")
        _, out, _ = await lab.exec("one", "grep", "^0::", "/proc/self/cgroup")
        cgroup = lab.config.site.cgroup.name
        assert out.decode().strip() == f"0::/{cgroup}/pods/{pod['metadata']['uid']}/c"

    play(scenario)


def test_logs_keep_streams_times_and_tails(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod(
            "one", shell("echo a; echo b >&2; echo c; printf d"), restartPolicy="Never"
        )
        await lab.wait(lambda: lab.pod("one")["status"]["phase"] == "Succeeded", "succeeded")
        assert sorted(await lab.logs("one")) == sorted("a\nb\nc\nd\n")
        assert len((await lab.logs("one", tailLines="2")).splitlines()) == 2
        stamped = await lab.logs("one", timestamps="true", tailLines="1")
        assert stamped.split(" ")[0].endswith("Z")
        assert await lab.logs("one", limitBytes="1") == "a"
        assert await lab.logs("one", follow="true") == await lab.logs("one")

    play(scenario)


def test_following_a_log_ends_with_its_container(play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "echo begin; while [ ! -e /tmp/stop ]; do sleep 0.05; done; echo end"
        await lab.run_pod("one", shell(script), restartPolicy="Never")
        await lab.wait_running("one")
        following = asyncio.create_task(lab.logs("one", follow="true"))
        await lab.exec("one", "touch", "/tmp/stop")
        assert await following == "begin\nend\n"

    play(scenario)


def test_a_port_of_the_pods_loopback_is_forwarded(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", {"name": "c", "image": "cilium/json-mock",
                                  "readinessProbe": {"tcpSocket": {"port": 8080}}})  # fmt: skip
        await lab.wait_running("one")
        request = b"GET /public HTTP/1.1\r\nConnection: close\r\n\r\n"
        answer = await lab.forward("one", 8080, request)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"public information" in answer
        assert await lab.forward("one", 8081, request) == b"400"

    play(scenario)
