"""The built-in images, matched by name whatever the registry, tag or digest."""

import hashlib
from pathlib import Path

import msgspec

from cilia.lab.images.disk import load_disk_image
from cilia.lab.images.image import DEFAULT_PATH, Image
from cilia.lab.images.tools import cilia_command, program_command
from cilia.model.errors import NotFound


class UnknownImage(NotFound):
    """The catalogue has no such image; the message says what to do."""


class Entry(msgspec.Struct, frozen=True):
    """One kind of image and the names it answers to."""

    title: str
    names: tuple[str, ...]
    """Repositories without registry; `library/` left out."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}


_SHELL = ("/bin/sh",)
_IDLE = program_command("pause")

CATALOGUE = (
    Entry("starwars", ("cilium/starwars",), program_command("deathstar")),
    Entry("json-mock", ("cilium/json-mock",), program_command("json_mock")),
    Entry("curl", ("cilium/alpine-curl", "curlimages/curl", "curl/curl", "appropriate/curl",
                   "byrnedo/alpine-curl", "tutum/curl"), _IDLE),
    Entry("busybox", ("busybox", "radial/busyboxplus", "k8s-staging-e2e-test-images/busybox"),
          args=_SHELL),
    Entry("alpine", ("alpine", "debian", "ubuntu", "bash", "alpine/socat"), args=_SHELL),
    Entry("python", ("python",), args=("python3",)),
    Entry("netshoot", ("nicolaka/netshoot", "praqma/network-multitool", "wbitt/network-multitool"),
          _IDLE),
    Entry("echo", ("hashicorp/http-echo", "google_containers/echoserver", "echoserver",
                   "ealen/echo-server", "mendhak/http-https-echo", "cilium/echo",
                   "k8s-staging-gateway-api/echo-basic", "k8s-staging-gateway-api/echo-advanced",
                   "jmalloc/echo-server", "e2e-test-images/echoserver", "traefik/whoami",
                   "containous/whoami"),
          program_command("echo")),
    Entry("nginx", ("nginx", "httpd", "nginxinc/nginx-unprivileged"),
          program_command("echo"), ("--port", "80", "--text", "Welcome to the lab's web server")),
    Entry("pause", ("pause", "google_containers/pause"), _IDLE),
    Entry("coredns", ("coredns/coredns", "coredns", "google_containers/coredns"),
          cilia_command("lab", "dns")),
)  # fmt: skip

_BY_NAME = {name: entry for entry in CATALOGUE for name in entry.names}


def repository(reference: str) -> str:
    """An image reference without registry, tag and digest.

    >>> repository("quay.io/cilium/starwars:v2.1@sha256:0123")
    'cilium/starwars'
    >>> repository("docker.io/library/busybox")
    'busybox'
    >>> repository("localhost:5000/curlimages/curl")
    'curlimages/curl'
    """
    name = reference.split("@", 1)[0]
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        name = rest
    stem, _, last = name.rpartition("/")
    name = f"{stem}/{last.split(':', 1)[0]}" if stem else last.split(":", 1)[0]
    return name.removeprefix("library/")


def find_image(reference: str, cache: Path) -> Image:
    """The image that a reference names.

    Args:
        reference: As in a container's `image`; `file:///path` for a folder or OCI archive.
        cache: Folder where archives are unpacked.

    Raises:
        UnknownImage: There is none; the message lists what there is.
    """
    if reference.startswith("file://"):
        try:
            return load_disk_image(Path(reference.removeprefix("file://")), cache)
        except (OSError, ValueError) as error:
            raise UnknownImage(f"image {reference}: {error}") from error
    entry = _BY_NAME.get(repository(reference))
    if entry is None:
        titles = ", ".join(f"{entry.title} ({entry.names[0]})" for entry in CATALOGUE)
        raise UnknownImage(
            f'image "{reference}" is not in the lab\'s catalogue, and the lab pulls nothing; '
            f"it has {titles}. Use one of these, or a folder or OCI archive on this machine: "
            "image: file:///path/to/folder-or-archive.tar"
        )
    digest = hashlib.sha256(msgspec.json.encode(entry)).hexdigest()
    return Image(
        name=entry.title,
        image_id=f"cilia.lab/{entry.title}@sha256:{digest}",
        command=entry.command,
        args=entry.args,
        env={"PATH": DEFAULT_PATH, **entry.env},
    )
