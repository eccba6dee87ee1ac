"""Which container of which node a stream request means."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec
from multidict import MultiMapping

from .errors import Json, bad_request

_DEFAULT = "kubectl.kubernetes.io/default-container"
_LOG_QUERY = (
    "follow", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "previous", "limitBytes",
)  # fmt: skip
_FLAGS = ("stdin", "stdout", "stderr", "tty")
_PATHS = {"log": "logs", "exec": "exec", "attach": "attach"}


class Target(msgspec.Struct, frozen=True):
    """One container, or for forwarded ports one pod, at its kubelet."""

    node: str
    path: str
    """On the kubelet's socket."""
    streams: tuple[str, ...]
    """Names of the streams that a SPDY client opens."""


def _container(pod: Json, asked: str) -> str:
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    names = [entry["name"] for field in fields for entry in spec.get(field) or []]
    name = pod["metadata"]["name"]
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    preferred = (pod["metadata"].get("annotations") or {}).get(_DEFAULT)
    if preferred in names:
        return str(preferred)
    regular = [str(entry["name"]) for entry in spec.get("containers") or []]
    if len(regular) != 1:
        raise bad_request(
            f"a container name must be specified for pod {name}, choose one of: "
            f"[{' '.join(regular)}]"
        )
    return regular[0]


def target_of(pod: Json, query: Mapping[str, str], part: str) -> Target:
    """The target of a request.

    Args:
        pod: The pod.
        query: The request's query.
        part: `log`, `exec`, `attach` or `portforward`.

    Raises:
        StatusError: No such container, more than one to choose from, or no node yet (400).
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    node = (pod.get("spec") or {}).get("nodeName")
    container = "" if part == "portforward" else _container(pod, query.get("container", ""))
    if not node:
        raise bad_request(f"pod {name} does not have a host assigned")
    if part == "portforward":
        return Target(node, f"/portforward/{quote(namespace)}/{quote(name)}", ())
    path = f"/{_PATHS[part]}/{quote(namespace)}/{quote(name)}/{quote(container)}"
    flags = [flag for flag in _FLAGS if _is_true(query.get(flag, ""))]
    streams = ["error", *(flag for flag in flags if flag != "tty")]
    if "tty" in flags:
        streams = [name for name in streams if name != "stderr"] + ["resize"]
    return Target(node, path, tuple(streams))


def _is_true(text: str) -> bool:
    return text in ("true", "1", "True")


def query_of(query: MultiMapping[str], part: str) -> str:
    """The kubelet's query: the options of a log, or command and streams."""
    if part == "log":
        return urlencode([(name, query[name]) for name in _LOG_QUERY if name in query])
    pairs = [("command", word) for word in query.getall("command", [])]
    pairs += [(flag, "true") for flag in _FLAGS if _is_true(query.get(flag, ""))]
    return urlencode(pairs)
