"""Kubeconfigs: embedded and by file, and what is missing is named."""

import base64
from pathlib import Path

import pytest

from cilia.wire.credentials import KubeconfigError, from_cluster, from_kubeconfig

CONFIG = """
apiVersion: v1
kind: Config
current-context: main
contexts:
- {name: main, context: {cluster: here, user: me}}
- {name: plugin, context: {cluster: here, user: robot}}
- {name: lost, context: {cluster: nowhere, user: me}}
clusters:
- name: here
  cluster: {server: "https://[fd00::2]:6443/", certificate-authority: ca.pem}
users:
- name: me
  user: {client-certificate-data: %s, client-key: key.pem}
- name: robot
  user: {exec: {command: login}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(b"AUTHORITY")
    (tmp_path / "key.pem").write_bytes(b"KEY")
    path = tmp_path / "config"
    path.write_text(CONFIG % base64.b64encode(b"CERTIFICATE").decode())
    return path


def test_material_is_embedded_or_beside_the_file(kubeconfig: Path) -> None:
    found = from_kubeconfig(kubeconfig)
    assert found.server == "https://[fd00::2]:6443"
    assert (found.authority, found.certificate, found.key) == (b"AUTHORITY", b"CERTIFICATE", b"KEY")


@pytest.mark.parametrize(
    ("context", "says"),
    [("plugin", "logs in through exec"), ("lost", "'nowhere'"), ("none", "'none'")],
)
def test_what_does_not_work_is_named(kubeconfig: Path, context: str, says: str) -> None:
    with pytest.raises(KubeconfigError, match=says):
        from_kubeconfig(kubeconfig, context)


@pytest.mark.parametrize("text", ["", "- a\n- b", "{", "clusters: 7", "a: [b"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=str(path)):
        from_kubeconfig(path)


def test_the_pods_own_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "ca.crt").write_bytes(b"AUTHORITY")
    where = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = from_cluster(where, tmp_path)
    assert (found.server, found.bearer()) == ("https://[fd00::1]:443", "secret")
    with pytest.raises(KubeconfigError, match="set kubeconfig"):
        from_cluster({}, tmp_path)
