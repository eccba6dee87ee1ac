"""The flags that every command of `cilia hubble` shares, and its file of defaults."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from cilia.cli.errors import ClientError
from cilia.cli.grammar import place
from cilia.cli.hubble.times import duration_ns

Json = Any
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

NS = 1e9


class ServerFlags(msgspec.Struct, frozen=True):
    """The server flags as they were given."""

    server: str
    tls: bool
    tls_ca_cert_files: tuple[str, ...]
    tls_client_cert_file: str
    tls_client_key_file: str
    tls_server_name: str
    basic_auth_username: str
    basic_auth_password: str
    timeout: str
    request_timeout: str
    port_forward: bool
    port_forward_port: int
    kubeconfig: str
    kube_context: str
    kube_namespace: str
    tls_allow_insecure: bool

    def address(self, *, of_node: bool = False) -> str:
        """The server that was named, else the relay of all nodes, else one node's observer.

        Args:
            of_node: It must be an observer, for a relay does not know what is asked.
        """
        relay = None if of_node or self.server else place().relay_socket
        return self.server or f"unix://{relay or place().hubble_socket}"


def from_environment(name: str) -> str:
    """The variable that gives a flag its default.

    >>> from_environment("time-format")
    'HUBBLE_TIME_FORMAT'
    """
    return f"HUBBLE_{name.upper().replace('-', '_')}"


def option(*names: str, **settings: Any) -> Decorator:
    """A click option that the environment can set too."""
    long = next(name for name in names if name.startswith("--")).removeprefix("--")
    return click.option(*names, envvar=from_environment(long), **settings)


_SERVER = (
    option("--server", default="", metavar="ADDRESS", help="host:port, tls://… or unix:///…"),
    option("--tls", is_flag=True, help="speak TLS"),
    option("--tls-ca-cert-files", multiple=True, metavar="FILE", help="authorities to trust"),
    option("--tls-client-cert-file", default="", metavar="FILE", help="our certificate"),
    option("--tls-client-key-file", default="", metavar="FILE", help="its key"),
    option("--tls-server-name", default="", metavar="NAME", help="the server's name, *.NAME too"),
    option("--basic-auth-username", default="", metavar="NAME", help="user"),
    option("--basic-auth-password", default="", metavar="WORD", help="password"),
    option("--timeout", default="5s", metavar="DURATION", help="for the connection"),
    option("--request-timeout", default="12s", metavar="DURATION", help="for one answer"),
    option("-P", "--port-forward", is_flag=True, help="reach the cluster's relay with kubectl"),
    option("--port-forward-port", type=click.IntRange(0, 65535), default=4245, help="… from here"),
    option("--kubeconfig", default="", metavar="FILE", help="… in the cluster of this file"),
    option("--kube-context", default="", metavar="NAME", help="… in this context of it"),
    option("--kube-namespace", default="kube-system", metavar="NS", help="… in this namespace"),
    option("--tls-allow-insecure", is_flag=True, help="trust whatever certificate comes"),
)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the server flags; the command gets them as one value, `server`."""

    def called(**values: Any) -> Any:
        flags = {name: values.pop(name) for name in ServerFlags.__struct_fields__}
        flags["tls_ca_cert_files"] = tuple(flags["tls_ca_cert_files"])
        return command(server=ServerFlags(**flags), **values)

    called.__doc__ = command.__doc__
    called.__name__ = command.__name__
    called.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # click keeps it there
    wrapped: Callable[..., Any] = called
    for add in reversed(_SERVER):
        wrapped = add(wrapped)
    return wrapped


def connect(flags: ServerFlags, *, of_node: bool = False) -> Any:
    """An `Observer`, connected; `of_node`: to one node's observer and not to a relay.

    Imported by name: gRPC costs 100 ms, which only a command that calls should pay.

    Raises:
        ClientError: nobody there, or a duration that is none.
    """
    connection = importlib.import_module("cilia.cli.hubble.connection")
    try:
        waits = [duration_ns(text) / NS for text in (flags.timeout, flags.request_timeout)]
    except ValueError as error:
        raise ClientError(str(error)) from None
    target = connection.Target(
        address=_way(flags, of_node=of_node),
        tls=flags.tls,
        ca_files=flags.tls_ca_cert_files,
        certificate=flags.tls_client_cert_file,
        key=flags.tls_client_key_file,
        server_name=flags.tls_server_name.removeprefix("*."),
        user=flags.basic_auth_username,
        password=flags.basic_auth_password,
        dial_s=waits[0],
        request_s=waits[1],
        trusts_all=flags.tls_allow_insecure,
    )
    debug(f"connecting to {target.address}")
    return connection.Observer(target)


def _way(flags: ServerFlags, *, of_node: bool) -> str:
    """The address; with --port-forward a way to it is made first."""
    if not flags.port_forward:
        return flags.address(of_node=of_node)
    forwarding = importlib.import_module("cilia.cli.hubble.forwarding")
    cluster = forwarding.Cluster(flags.kubeconfig, flags.kube_context, flags.kube_namespace)
    return str(forwarding.forwarded(cluster, flags.port_forward_port))


def is_debugging() -> bool:
    """Whether -D was given."""
    return bool(click.get_current_context().meta.get("hubble.debug"))


def debug(text: str) -> None:
    """Says on stderr what is being done, with -D."""
    if is_debugging():
        click.echo(f"debug: {text}", err=True)


def config_file() -> Path:
    """Where the user's defaults are kept."""
    named = os.environ.get("HUBBLE_CONFIG")
    if named:
        return Path(named)
    folder = os.environ.get("XDG_CONFIG_HOME")
    if folder:
        return Path(folder) / "hubble" / "config.yaml"
    return Path.home() / ".hubble" / "config.yaml"


def read_config(path: Path) -> dict[str, Json]:
    """The values in that file; none where there is no file.

    Raises:
        ClientError: it is not YAML of names and values.
    """
    if not path.is_file():
        return {}
    # Imported by name: it costs 25 ms, which only those with a file should pay.
    yaml = importlib.import_module("yaml")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ClientError(
            f"{path} is not YAML: {error}", "`hubble config reset` empties it"
        ) from None
    if not isinstance(values, dict | None):
        raise ClientError(f"{path} does not hold `name: value` lines", "`hubble config view`")
    return {str(name): value for name, value in (values or {}).items()}


def defaults(values: dict[str, Json]) -> dict[str, Json]:
    """Those values as click's defaults for every command."""
    known = {name.replace("-", "_"): value for name, value in values.items()}
    return {
        "observe": known,
        "status": known,
        "list": {"nodes": known, "namespaces": known},
        "watch": {"peers": known},
    }
