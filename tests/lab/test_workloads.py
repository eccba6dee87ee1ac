"""Workloads as users type them: kubectl, the controllers, the kubelet and the datapath together."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from lab.running_lab import Done, RunningLab, wait_for

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: hashicorp/http-echo
        args: ["--port", "8080", "--text", "{text}"]
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: v1
kind: Service
metadata: {{name: each}}
spec:
  clusterIP: None
  selector: {{app: web}}
  ports: [{{name: http, port: 8080}}]
"""


class Namespace:
    """kubectl in a namespace of the test's own."""

    def __init__(self, lab: RunningLab) -> None:
        self.lab = lab
        self.name = f"w{uuid.uuid4().hex[:8]}"

    def __call__(self, *words: str, text: str = "") -> str:
        done = self.lab.kubectl("-n", self.name, *words, text=text)
        assert done.returncode == 0, (words, done.stderr, done.stdout)
        return done.stdout

    def items(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.lab.json("-n", self.name, "get", kind)["items"]
        return found

    def apply_web(self, replicas: int, text: str) -> None:
        self("apply", "-f", "-", text=WEB.format(replicas=replicas, text=text))
        self("rollout", "status", "deployment/web", "--timeout=60s")

    def ask(self, url: str, *flags: str) -> Done:
        """What a pod of the namespace default gets from a URL."""
        words = ("curl", "-sg", "--max-time", "5", *flags, url)
        return self.lab.kubectl("exec", "xwing", "--", *words)


@pytest.fixture
def space(lab: RunningLab) -> Iterator[Namespace]:
    """A namespace that is deleted, with everything in it, afterwards."""
    made = Namespace(lab)
    done = lab.kubectl("create", "namespace", made.name)
    assert done.returncode == 0, done.stderr
    yield made
    done = lab.kubectl("delete", "namespace", made.name, "--timeout=60s")
    assert done.returncode == 0, done.stderr


def test_a_service_of_both_families_answers_over_both(space: Namespace) -> None:
    space.apply_web(2, "hello")
    for family in ("-4", "-6"):
        assert "hello" in space.ask(f"http://web.{space.name}/", family).stdout
    addresses = {
        endpoint["addresses"][0]
        for one in space.items("endpointslices")
        for endpoint in one["endpoints"]
    }
    pods = {entry["ip"] for one in space.items("pods") for entry in one["status"]["podIPs"]}
    assert addresses == pods
    assert len(pods) == 4


def test_a_headless_service_means_its_pods(space: Namespace) -> None:
    space.apply_web(2, "hello")
    done = space.lab.kubectl("exec", "xwing", "--", "getent", "ahostsv4", f"each.{space.name}")
    found = {line.split()[0] for line in done.stdout.splitlines()}
    assert found == {one["status"]["podIP"] for one in space.items("pods")}


def test_a_rollout_replaces_every_pod_and_undo_brings_the_old_text_back(space: Namespace) -> None:
    space.apply_web(2, "first")
    before = {one["metadata"]["uid"] for one in space.items("pods")}
    space.apply_web(2, "second")
    wait_for("two pods are left", lambda: len(space.items("pods")) == 2)
    assert not before & {one["metadata"]["uid"] for one in space.items("pods")}
    assert "second" in space.ask(f"http://web.{space.name}/").stdout
    space("rollout", "undo", "deployment/web")
    space("rollout", "status", "deployment/web", "--timeout=60s")
    wait_for("two pods are left", lambda: len(space.items("pods")) == 2)
    assert "first" in space.ask(f"http://web.{space.name}/").stdout
    assert "Scaled up replica set" in space("describe", "deployment", "web")


def test_scaling_and_a_deleted_pod(space: Namespace) -> None:
    space.apply_web(1, "hello")
    space("scale", "deployment/web", "--replicas=3")
    space("rollout", "status", "deployment/web", "--timeout=60s")
    lost = space.items("pods")[0]["metadata"]["name"]
    space("delete", "pod", lost)
    space("rollout", "status", "deployment/web", "--timeout=60s")
    names = {one["metadata"]["name"] for one in space.items("pods")}
    assert len(names) == 3
    assert lost not in names
    space("scale", "deployment/web", "--replicas=0")
    wait_for("no pod is left", lambda: space.items("pods") == [])
    assert space.ask(f"http://web.{space.name}/").returncode != 0


def test_an_unready_pod_gets_no_traffic(space: Namespace) -> None:
    space.apply_web(1, "hello")
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"web","args":["--port","9"]}]}}}}'
    space("patch", "deployment", "web", "-p", patch)

    def stuck() -> bool:
        return len(space.items("pods")) == 2

    wait_for("the new pod is there beside the old one", stuck)
    for _ in range(5):
        assert "hello" in space.ask(f"http://web.{space.name}/").stdout


def test_a_pod_that_fits_nowhere_and_one_without_image_say_so(space: Namespace) -> None:
    overrides = '{"spec":{"nodeSelector":{"disk":"ssd"}}}'
    space("run", "lost", "--image=busybox", f"--overrides={overrides}")
    space("run", "unknown", "--image=example.com/not/there")

    def waits() -> bool:
        table = space("get", "pods")
        return "Pending" in table and ("ErrImagePull" in table or "ImagePullBackOff" in table)

    wait_for("both say what is wrong", waits)
    condition = space(
        "get", "pod", "lost", "-o", "jsonpath={.status.conditions[?(@.type=='PodScheduled')]}"
    )
    assert "0/1 nodes are available" in condition
    assert "catalogue" in space("describe", "pod", "unknown")
