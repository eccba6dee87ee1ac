"""How to reach and to trust an API server: kubeconfig files and the in-cluster account.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
and https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cilia.model.errors import CiliaError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(CiliaError):
    """A kubeconfig lacks something, or uses what cilia does not support."""


class Credentials(msgspec.Struct, frozen=True):
    """Where the API server is, whom we trust and who we are."""

    server: str
    """Base URL, without a slash at its end."""
    authority: bytes | None = None
    """PEM certificates of the authority that signed the server's; None: the system's."""
    certificate: bytes | None = None
    """PEM client certificate."""
    key: bytes | None = None
    """PEM key of `certificate`."""
    token: str | None = None
    """Bearer token."""
    token_path: Path | None = None
    """File that holds a token which may be rotated; read again for each request."""
    server_name: str | None = None
    """Name to expect in the server's certificate, when the URL's differs."""
    verify: bool = True
    """False: any certificate will do (`insecure-skip-tls-verify`)."""

    def bearer(self) -> str | None:
        """Returns the token to send with the next request, if there is one."""
        if self.token_path is not None:
            return self.token_path.read_text().strip()
        return self.token

    def tls(self) -> ssl.SSLContext | None:
        """Returns the TLS context for the server; None for plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        authority = self.authority.decode() if self.authority else None
        context = ssl.create_default_context(cadata=authority)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            _load_client_certificate(context, self.certificate, self.key)
        return context


def _load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL's Python face loads client certificates from files only.
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def from_kubeconfig(path: Path, context: str = "") -> Credentials:
    """Returns the credentials of a kubeconfig's current (or the named) context.

    Raises:
        KubeconfigError: the file is missing, broken, or needs an exec or auth-provider
            plugin.
    """
    try:
        text = path.read_bytes()
        config = (
            msgspec.json.decode(text)
            if text.lstrip().startswith(b"{")
            else msgspec.yaml.decode(text)
        )
    except OSError as error:
        raise KubeconfigError(
            f"read kubeconfig {path}: {error.strerror}; set kubeconfig to a file that exists"
        ) from error
    except msgspec.DecodeError as error:
        raise KubeconfigError(f"read kubeconfig {path}: not YAML or JSON: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError(f"read kubeconfig {path}: not a mapping")
    name = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster", ""), path)
    user = _named(config, "users", "user", chosen["user"], path) if chosen.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if user.get(plugin):
            raise KubeconfigError(
                f"kubeconfig {path}: user {chosen['user']} logs in through {plugin}, which is "
                "not supported; use a token or a client certificate"
            )
    if not cluster.get("server"):
        raise KubeconfigError(f"kubeconfig {path}: cluster {chosen.get('cluster')} has no server")
    token_file = user.get("tokenFile")
    return Credentials(
        server=str(cluster["server"]).rstrip("/"),
        authority=_material(cluster, "certificate-authority", path),
        certificate=_material(user, "client-certificate", path),
        key=_material(user, "client-key", path),
        token=user.get("token"),
        token_path=(path.parent / token_file) if token_file else None,
        server_name=cluster.get("tls-server-name"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def from_cluster(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Credentials:
    """Returns the credentials that Kubernetes gives to each pod.

    Raises:
        KubeconfigError: this process does not run in a pod with a service account.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise KubeconfigError(
            "find the API server: not in a pod with a service account, and no kubeconfig is set; "
            "set kubeconfig"
        )
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        authority=(folder / "ca.crt").read_bytes(),
        token_path=folder / "token",
    )


def _named(
    config: dict[str, Any], section: str, member: str, name: str, path: Path
) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return entry.get(member) or {}
    raise KubeconfigError(f"kubeconfig {path}: {section} holds no entry named {name!r}")


def _material(section: dict[str, Any], name: str, path: Path) -> bytes | None:
    """Returns what `<name>-data` embeds or the file that `<name>` points to holds."""
    if embedded := section.get(f"{name}-data"):
        try:
            return base64.b64decode(embedded, validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"kubeconfig {path}: {name}-data is not base64") from error
    if not (file := section.get(name)):
        return None
    try:
        return (path.parent / str(file)).read_bytes()
    except OSError as error:
        raise KubeconfigError(
            f"kubeconfig {path}: {name} {file} cannot be read: {error.strerror}"
        ) from error
