"""Fixtures: one API server for most tests, a node with a kubelet that pretends, kubectl."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.apiserver.client import Client
from lab.apiserver.fake_kubelet import FakeKubelet
from lab.apiserver.process import ApiServerProcess
from lab.kubectl import Kubectl, kubectl_binary


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    """A server that tests share; each has a namespace of its own."""
    server = ApiServerProcess(tmp_path_factory.mktemp("api"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def node(api: ApiServerProcess) -> Iterator[str]:
    """A node whose kubelet answers logs and exec."""
    kubelet = FakeKubelet(api.kubelets / "n1" / "kubelet.sock")
    kubelet.start()
    yield "n1"
    kubelet.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ApiServerProcess]:
    """A server of one test's own, not started yet."""
    server = ApiServerProcess(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubectl")


@pytest.fixture
def namespace(api: ApiServerProcess, cache: Path) -> str:
    """A namespace for one test."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    Kubectl(kubectl_binary(), api.kubeconfig, cache)("create", "namespace", name)
    return name


@pytest.fixture
def kube(api: ApiServerProcess, cache: Path, namespace: str) -> Kubectl:
    """kubectl in the test's namespace."""
    kubectl = Kubectl(kubectl_binary(), api.kubeconfig, cache)
    return kubectl.within(namespace)


@pytest.fixture(scope="module")
def client(api: ApiServerProcess) -> Iterator[Client]:
    """A connection with the administrator's certificate."""
    made = Client(api)
    yield made
    made.close()
