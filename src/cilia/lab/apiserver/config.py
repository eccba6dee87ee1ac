"""What an API server process is told."""

from pathlib import Path

import msgspec


class Listener(msgspec.Struct, frozen=True):
    """One address to listen on."""

    host: str
    """IPv4 or IPv6 address."""
    port: int
    """0: any free one; the ready file says which."""
    netns: str | None = None
    """Path of the network namespace; None: the process's own."""


class ApiServerConfig(msgspec.Struct, frozen=True):
    """One lab's API server."""

    state: Path
    """Folder of the database, the certificates and the tokens."""
    listeners: tuple[Listener, ...]
    names: tuple[str, ...] = ()
    """DNS names and addresses in the server's certificate, besides the listeners' own."""
    kubelets: Path | None = None
    """Folder in which `<node>/kubelet.sock` are; None: no logs, no exec."""
    ready: Path | None = None
    """File that is written when every listener listens: JSON list of their URLs."""
    service_addresses: tuple[str, ...] = ("10.96.0.1", "fd00:96::1")
    """Cluster addresses of service default/kubernetes."""

    @property
    def certificates(self) -> Path:
        """Folder of the authority's, server's and clients' certificates."""
        return self.state / "certificates"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state / "cluster.sqlite"

    @property
    def tokens(self) -> Path:
        """JSON object, bearer token -> user name; need not exist."""
        return self.state / "tokens.json"


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{kind}: {value!r}")


def read_config(file: Path) -> ApiServerConfig:
    """The configuration in a JSON file.

    Raises:
        msgspec.ValidationError: A field is missing or of the wrong type.
    """
    return msgspec.json.decode(file.read_bytes(), type=ApiServerConfig, dec_hook=_path)


def write_config(config: ApiServerConfig, file: Path) -> None:
    """Writes what `read_config` reads."""
    file.write_bytes(msgspec.json.encode(config, enc_hook=str))
