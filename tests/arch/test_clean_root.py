"""A machine with the wheel, Python, libbpf1 and iproute2, and no compiler, brings a lab up.

The machine is a fresh Debian root folder, entered with chroot in a mount
namespace of its own; the kernel is this one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE = Path("/var/cache/cilia-tests/bookworm-minimal")
"""Made once by debootstrap, never written to afterwards."""
PACKAGES = "python3,libbpf1,iproute2"
LAB = f"clean{os.getpid() % 100000}"

SCRIPT = """
set -eu
root=$1; base=$2; upper=$3; lab=$4
mkdir -p $upper/up $upper/work
mount -t overlay overlay -o lowerdir=$root:$base,upperdir=$upper/up,workdir=$upper/work $base
mount -t proc proc $base/proc
mount --rbind /sys $base/sys
mount --rbind /dev $base/dev
mount -t tmpfs tmpfs $base/run
mount -t tmpfs tmpfs $base/var/lib
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cilia="chroot $base python3 -m cilia"
if chroot $base sh -c 'command -v clang || command -v clang-19 || command -v cc || command -v make'
then echo 'not a clean root: there is a compiler' >&2; exit 1; fi
trap "$cilia lab down --name $lab" EXIT
$cilia lab up --name $lab --demo starwars
$cilia --lab $lab status --wait --brief
$cilia --lab $lab endpoint list
"""


@pytest.fixture(scope="module")
def base() -> Path:
    if not (BASE / "usr/bin/python3").exists():
        fresh = BASE.with_suffix(f".{os.getpid()}")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
        done = subprocess.run([*command, str(fresh)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        fresh.rename(BASE)
    return BASE


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """A folder with the wheel and what it depends on, where Debian 12 has such packages."""
    target = tmp_path / "root/usr/local/lib/python3.11/dist-packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(target)]
    choice = ["--python-version", "3.11", "--only-binary=:all:", "--implementation", "cp"]
    subprocess.run([*pip, *choice, str(wheel)], check=True)
    return tmp_path / "root"


@pytest.fixture
def upper() -> Iterator[Path]:
    folder = Path("/var/tmp") / f"cilia-clean-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_the_lab_comes_up_without_a_compiler(base: Path, installed: Path, upper: Path) -> None:
    alone = ["unshare", "--mount", "--propagation", "private", "bash", "-c", SCRIPT, "clean-root"]
    done = subprocess.run(
        [*alone, str(installed), str(base), str(upper), LAB],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("k8s:class=deathstar") == 2
    assert "k8s:org=alliance" in done.stdout
