"""Pods come up, run, end and leave nothing."""

from lab.kubelet.harness import Lab, shell


def test_a_pod_runs_in_its_own_namespaces_with_its_own_address(play) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.run_pod("one", shell("hostname; echo ready; sleep 1000"))
        pod = await lab.wait_running("one")
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["podIP"] == "10.99.0.2"
        assert await lab.logs("one") == "one\nready\n"
        code, out, _ = await lab.exec("one", "ip", "-4", "-o", "addr", "show", "eth0")
        assert (code, b"10.99.0.2/32" in out) == (0, True)

    play(scenario)
