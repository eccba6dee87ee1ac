"""Images on this machine's disk: a folder, or an OCI (or `docker save`) archive.

Source: OCI image-spec, image-layout.md and layer.md (whiteouts).
"""

import hashlib
import os
import shutil
import tarfile
from pathlib import Path
from typing import IO

import msgspec

from cilia.lab.images.image import DEFAULT_PATH, Image

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str = "/"
    user: str = ""


class _ImageConfig(msgspec.Struct, frozen=True):
    config: _Config = _Config()


class _Descriptor(msgspec.Struct, frozen=True):
    digest: str


class _Manifest(msgspec.Struct, frozen=True):
    config: _Descriptor
    layers: list[_Descriptor]


class _Index(msgspec.Struct, frozen=True):
    manifests: list[_Descriptor]


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: list[str]


def load_disk_image(path: Path, cache: Path) -> Image:
    """The image at `path`.

    A folder with a shell in it is a complete root file system; any other folder
    is laid over the host's root. An archive is unpacked into `cache` once.

    Raises:
        FileNotFoundError: There is nothing.
        ValueError: It is neither folder nor image archive.
    """
    if path.is_dir():
        return _folder_image(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the folder or archive of the image")
    return _archive_image(path, cache)


def _folder_image(path: Path) -> Image:
    complete = any(os.path.lexists(path / shell) for shell in ("bin/sh", "usr/bin/sh"))
    stamp = hashlib.sha256(f"{path}:{path.stat().st_mtime_ns}".encode()).hexdigest()
    return Image(
        name=str(path),
        image_id=f"file://{path}@sha256:{stamp}",
        args=("/bin/sh",),
        env={"PATH": DEFAULT_PATH},
        lower=path if complete else Path("/"),
        copies=() if complete else (path,),
    )


def _archive_image(path: Path, cache: Path) -> Image:
    stat = path.stat()
    stamp = hashlib.sha256(f"{path}:{stat.st_mtime_ns}:{stat.st_size}".encode()).hexdigest()
    root = cache / stamp
    try:
        with tarfile.open(path) as archive:
            config, layers = _contents(archive)
            if not root.exists():
                draft = cache / f"{stamp}.{os.getpid()}"
                draft.mkdir(parents=True)
                for layer in layers:
                    _unpack(_member(archive, layer), draft)
                draft.rename(root)
    except (tarfile.TarError, KeyError, msgspec.DecodeError) as error:
        raise ValueError(f"{path} is no OCI image archive: {error}") from error
    settings = config.config
    env = dict(item.split("=", 1) for item in settings.env or [] if "=" in item)
    return Image(
        name=str(path),
        image_id=f"file://{path}@sha256:{stamp}",
        command=tuple(settings.entrypoint or ()),
        args=tuple(settings.cmd or ()),
        env={"PATH": DEFAULT_PATH, **env},
        working_dir=settings.working_dir or "/",
        user=settings.user,
        lower=root,
    )


def _contents(archive: tarfile.TarFile) -> tuple[_ImageConfig, list[str]]:
    names = archive.getnames()
    if "manifest.json" in names:
        saved = msgspec.json.decode(_member(archive, "manifest.json").read(), type=list[_Saved])[0]
        return _decode_config(archive, saved.config), saved.layers
    index = msgspec.json.decode(_member(archive, "index.json").read(), type=_Index)
    text = _member(archive, _blob(index.manifests[0].digest)).read()
    manifest = msgspec.json.decode(text, type=_Manifest)
    config = _decode_config(archive, _blob(manifest.config.digest))
    return config, [_blob(layer.digest) for layer in manifest.layers]


def _decode_config(archive: tarfile.TarFile, name: str) -> _ImageConfig:
    return msgspec.json.decode(_member(archive, name).read(), type=_ImageConfig)


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(f"{name} is not a file")
    return found


def _unpack(layer: IO[bytes], root: Path) -> None:
    with tarfile.open(fileobj=layer) as archive:
        # Owners, modes and links are the image's; what leads out of it is refused below.
        archive.extraction_filter = lambda member, path: member
        for member in archive:
            target = _inside(root, member.name)
            name = target.name
            if name == _OPAQUE:
                for child in target.parent.iterdir():
                    _remove(child)
            elif name.startswith(_WHITEOUT):
                _remove(target.with_name(name.removeprefix(_WHITEOUT)))
            elif not (member.ischr() or member.isblk() or target == root):
                if not member.isdir():
                    _remove(target)
                if member.islnk():
                    member.linkname = str(_inside(root, member.linkname).relative_to(root))
                archive.extract(member, root)


def _inside(root: Path, name: str) -> Path:
    """The place of an archive's member, which must not lead out of `root`."""
    target = root / os.path.normpath("/" + name).lstrip("/")
    if target != root and not target.parent.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"member {name} leads out of the image through a link")
    return target


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
