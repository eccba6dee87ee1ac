"""kubectl logs, exec and port-forward through the API server to a kubelet's socket."""

import json
import urllib.request

import pytest

from lab.kubectl import Kubectl


@pytest.fixture
def pod(kube: Kubectl, node: str) -> Kubectl:
    kube("run", "x", "--image", "busybox:1", "--overrides", f'{{"spec":{{"nodeName":"{node}"}}}}')
    status = json.dumps({"status": {"phase": "Running"}})
    kube("patch", "pod", "x", "--subresource", "status", "--type", "merge", "-p", status)
    return kube


def test_logs(pod: Kubectl) -> None:
    assert pod("logs", "x", "--tail", "2") == "line 3 of x\nline 4 of x\n"


def test_exec_keeps_output_and_errors_apart(pod: Kubectl) -> None:
    done = pod.run("exec", "x", "--", "hello", "world")

    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\nworld\n", "err\n")


def test_exec_gives_standard_input_and_exit_code(pod: Kubectl) -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))

    assert pod("exec", "-i", "x", "--", "cat", stdin=text) == text
    assert pod.run("exec", "x", "--", "fail", "7").returncode == 7


def test_port_forward(pod: Kubectl) -> None:
    forwarding = pod.start("port-forward", "pod/x", ":80")
    assert forwarding.stdout is not None
    try:
        line = forwarding.stdout.readline()
        port = line.split("127.0.0.1:")[1].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.read() == b"port 80"
    finally:
        forwarding.kill()
        forwarding.communicate()


def test_a_pod_without_node_or_kubelet_says_so(kube: Kubectl) -> None:
    kube("run", "lost", "--image", "busybox:1")
    spec = '{"spec":{"nodeName":"n-away"}}'
    kube("run", "away", "--image", "busybox:1", "--overrides", spec)

    assert "does not have a host assigned" in kube.fails("logs", "lost")
    assert "kubelet of node n-away does not answer" in kube.fails("logs", "away")
    assert "container c is not valid for pod lost" in kube.fails("logs", "lost", "-c", "c")
