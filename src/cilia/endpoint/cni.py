"""The CNI plugin's requests as values, and answers in CNI's own JSON.

Everything that a runtime can send is checked here: the plugin passes its
environment and configuration on as they are.

Source:
    https://github.com/containernetworking/cni/blob/main/SPEC.md (1.1.0), sections
    2 (parameters, errors) and 5 (result types).
"""

import re
from typing import Any

import msgspec

from cilia.model.errors import CiliaError

Json = dict[str, Any]

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_WITH_IP_VERSION = ("0.3.0", "0.3.1", "0.4.0")

INCOMPATIBLE_VERSION, UNKNOWN_CONTAINER, INVALID_ENVIRONMENT = 1, 3, 4
IO_FAILURE, DECODING_FAILURE, INVALID_CONFIG, TRY_AGAIN_LATER = 5, 6, 7, 11
NOT_AVAILABLE = 50

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,252}\Z")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.\-]{0,251}[a-z0-9])?\Z")
_LABEL_KEY = re.compile(
    r"([a-z0-9][a-z0-9.\-]{0,252}/)?[A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?\Z"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?)?\Z")
_UID = re.compile(r"[A-Za-z0-9\-]{0,64}\Z")


class CniError(CiliaError):
    """A request that cannot be served, in CNI's words.

    Attributes:
        code: CNI's number.
        details: What to do.
    """

    def __init__(self, code: int, message: str, details: str = "") -> None:
        self.code = code
        self.details = details
        super().__init__(message)


class _Label(msgspec.Struct):
    key: str
    value: str = ""


class _CniArgs(msgspec.Struct):
    labels: list[_Label] = []


class _Args(msgspec.Struct):
    cni: _CniArgs = msgspec.field(default_factory=_CniArgs)


class _RuntimeConfig(msgspec.Struct):
    labels: dict[str, str] = {}


class _LabelledConfig(msgspec.Struct):
    args: _Args = msgspec.field(default_factory=_Args)
    runtime: _RuntimeConfig = msgspec.field(name="runtimeConfig", default_factory=_RuntimeConfig)


class RawRequest(msgspec.Struct, frozen=True):
    """What the plugin sends: CNI's variables without their prefix, and its configuration."""

    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: str = ""
    config: Json = {}


class PodRequest(msgspec.Struct, frozen=True):
    """ADD or CHECK of one pod, checked."""

    container: str
    netns: str
    """Path of its network namespace."""
    ifname: str
    namespace: str
    pod: str
    uid: str = ""
    version: str = "1.1.0"
    previous: Json | None = None
    """The result of ADD, when the runtime gives it."""
    labels: tuple[tuple[str, str], ...] = ()
    """Of the pod, when the runtime gives them."""

    @property
    def name(self) -> str:
        """namespace/pod."""
        return f"{self.namespace}/{self.pod}"


def decode_raw(body: bytes) -> RawRequest:
    """The plugin's message.

    Raises:
        CniError: Not JSON (6), or a field has another type (6); the text names the field.
    """
    try:
        return msgspec.json.decode(body, type=RawRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CniError(
            DECODING_FAILURE, f"request: {error}", "send a CNI network configuration in JSON"
        ) from error


def decode_pod(raw: RawRequest) -> PodRequest:
    """A request about one pod.

    Raises:
        CniError: A variable is missing or malformed (4), or the configuration is (7).
    """
    version = check_version(raw.config)
    _check(_CONTAINER, raw.container_id, "CNI_CONTAINERID", "letters, digits, _ . -")
    check_ifname(raw.ifname)
    if not raw.netns.startswith("/") or "\0" in raw.netns:
        raise CniError(
            INVALID_ENVIRONMENT,
            f"CNI_NETNS {raw.netns!r}: not an absolute path",
            "give the path of the pod's network namespace",
        )
    values = decode_args(raw.args)
    namespace, pod = values.get("K8S_POD_NAMESPACE", ""), values.get("K8S_POD_NAME", "")
    _check(_NAME, namespace, "CNI_ARGS K8S_POD_NAMESPACE", "a Kubernetes name")
    _check(_NAME, pod, "CNI_ARGS K8S_POD_NAME", "a Kubernetes name")
    uid = values.get("K8S_POD_UID", "")
    _check(_UID, uid, "CNI_ARGS K8S_POD_UID", "letters, digits and -")
    previous = raw.config.get("prevResult")
    if previous is not None and not isinstance(previous, dict):
        raise CniError(INVALID_CONFIG, "prevResult: not an object", "pass the result of ADD")
    return PodRequest(
        container=raw.container_id,
        netns=raw.netns,
        ifname=raw.ifname,
        namespace=namespace,
        pod=pod,
        uid=uid,
        version=version,
        previous=previous,
        labels=decode_labels(raw.config),
    )


def check_version(config: Json) -> str:
    """The configuration's CNI version, one of VERSIONS.

    Raises:
        CniError: Missing or no text (7), or one that we do not speak (1).
    """
    version = config.get("cniVersion")
    if not isinstance(version, str):
        raise CniError(INVALID_CONFIG, "cniVersion: missing, or not a string", "set it to 1.1.0")
    if version not in VERSIONS:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion {version!r}: not supported",
            f"use one of {', '.join(VERSIONS)}",
        )
    return version


def check_ifname(name: str) -> None:
    """Refuses what Linux does not take as a device's name.

    Raises:
        CniError: 4.
    """
    bad = not name.isascii() or not name.isprintable() or any(one in "/: " for one in name)
    if bad or not 0 < len(name) <= 15 or name in (".", ".."):
        raise CniError(
            INVALID_ENVIRONMENT,
            f"CNI_IFNAME {name!r}: not a device name",
            "1 to 15 characters without slash, colon and space",
        )


def decode_args(text: str) -> dict[str, str]:
    """CNI_ARGS, `KEY=VALUE;KEY=VALUE`.

    Raises:
        CniError: A part has no equals sign (4).

    >>> decode_args("IgnoreUnknown=1;K8S_POD_NAME=web")
    {'IgnoreUnknown': '1', 'K8S_POD_NAME': 'web'}
    """
    values = {}
    for part in filter(None, text.split(";")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise CniError(
                INVALID_ENVIRONMENT, f"CNI_ARGS: {part!r} is not KEY=VALUE", "separate them by ;"
            )
        values[key] = value
    return values


def decode_valid_attachments(config: Json) -> set[tuple[str, str]]:
    """GC's list of what still lives: pairs of container and interface.

    Raises:
        CniError: It is missing, or malformed (7): nothing is collected then.
    """
    check_version(config)
    found = config.get("cni.dev/valid-attachments", config.get("cni.dev/attachments"))
    try:
        if not isinstance(found, list):
            raise TypeError("not a list")
        pairs = {(one["containerID"], one["ifname"]) for one in found}
        if not all(isinstance(part, str) for pair in pairs for part in pair):
            raise TypeError("containerID and ifname are strings")
    except (TypeError, KeyError) as error:
        raise CniError(
            INVALID_CONFIG, f"cni.dev/valid-attachments: {error}", "list what is still in use"
        ) from error
    return pairs


def _check(form: re.Pattern[str], value: str, field: str, remedy: str) -> None:
    if not form.match(value):
        raise CniError(INVALID_ENVIRONMENT, f"{field} {value[:64]!r}: malformed", f"use {remedy}")


def decode_labels(config: Json) -> tuple[tuple[str, str], ...]:
    """The pod's labels, when the runtime gives them, by key; runtimeConfig's come last.

    `args.cni.labels` is a list of objects with key and value; `runtimeConfig.labels`, for
    runtimes that know the capability `labels`, is one object.

    Source: https://github.com/containernetworking/cni/blob/main/CONVENTIONS.md

    Raises:
        CniError: They have another shape, or are no labels to Kubernetes (7).
    """
    try:
        told = msgspec.convert(config, _LabelledConfig)
    except msgspec.ValidationError as error:
        raise CniError(
            INVALID_CONFIG,
            f"labels: {error}",
            'args.cni.labels is [{"key": K, "value": V}], runtimeConfig.labels is {K: V}',
        ) from error
    found = {one.key: one.value for one in told.args.cni.labels} | told.runtime.labels
    for key, value in found.items():
        if not (_LABEL_KEY.match(key) and _LABEL_VALUE.match(value)):
            raise CniError(
                INVALID_CONFIG,
                f"labels: {key[:320]!r}: {value[:64]!r} is no label",
                "use Kubernetes' form: PREFIX/NAME, and up to 63 letters, digits, - _ .",
            )
    return tuple(sorted(found.items()))


class Attached(msgspec.Struct, frozen=True):
    """What ADD made, for its answer."""

    host_device: str
    host_mac: str
    ifname: str
    mac: str
    netns: str
    mtu: int
    addresses: tuple[tuple[str, str], ...]
    """(address with prefix length, gateway), IPv4 first."""


def encode_result(attached: Attached, version: str) -> Json:
    """ADD's answer in the version that was asked for."""
    ips = []
    for address, gateway in attached.addresses:
        entry: Json = {"address": address, "gateway": gateway, "interface": 1}
        if version in _WITH_IP_VERSION:
            entry["version"] = "6" if ":" in address else "4"
        ips.append(entry)
    host: Json = {"name": attached.host_device, "mac": attached.host_mac}
    inside: Json = {"name": attached.ifname, "mac": attached.mac, "sandbox": attached.netns}
    if version == "1.1.0":
        host["mtu"] = inside["mtu"] = attached.mtu
    routes = [
        {"dst": "::/0" if ":" in address else "0.0.0.0/0", "gw": gateway}
        for address, gateway in attached.addresses
    ]
    return {
        "cniVersion": version,
        "interfaces": [host, inside],
        "ips": ips,
        "routes": routes,
        "dns": {},
    }


def encode_error(error: CniError) -> Json:
    """A refusal as CNI wants it."""
    return {
        "cniVersion": VERSIONS[-1],
        "code": error.code,
        "msg": str(error),
        "details": error.details,
    }
