"""kubeconfig files for the lab's clients."""

import os
from base64 import b64encode
from pathlib import Path

import msgspec

from .certificates import ADMIN, ADMIN_GROUP, CA, ensure_client


def write_kubeconfig(
    path: Path,
    server_url: str,
    certificates: Path,
    *,
    cluster: str = "cilia-lab",
    user: str = "",
) -> None:
    """Writes a kubeconfig with all certificates inside it, readable by its owner only.

    Args:
        path: The file.
        server_url: `https://127.0.0.1:6443`; IPv6 addresses in brackets.
        certificates: The certificates folder (`<state>/certificates`); what is
            missing of the client's certificate is made.
        cluster: Name of cluster and context.
        user: Common name of the client, such as `system:node:node-1`; empty
            for the administrator.

    Raises:
        FileNotFoundError: The folder has no authority yet: call
            `ensure_certificates` first.
    """
    stem = user.replace(":", "-") if user else ADMIN
    if user:
        ensure_client(certificates, stem, user, ADMIN_GROUP)

    config = _document(server_url, certificates, cluster, user or "kubernetes-admin", stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        # JSON is YAML: kubectl and every YAML reader take it.
        file.write(msgspec.json.format(msgspec.json.encode(config)) + b"\n")
    partial.replace(path)


def _document(
    server_url: str, certificates: Path, cluster: str, account: str, stem: str
) -> dict[str, object]:
    def embedded(name: str) -> str:
        return b64encode((certificates / name).read_bytes()).decode()

    authority = embedded(f"{CA}.crt")
    credentials = {
        "client-certificate-data": embedded(f"{stem}.crt"),
        "client-key-data": embedded(f"{stem}.key"),
    }
    place = {"server": server_url, "certificate-authority-data": authority}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [{"name": cluster, "cluster": place}],
        "users": [{"name": account, "user": credentials}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": account}}],
    }
