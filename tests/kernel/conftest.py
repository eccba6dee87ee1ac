"""Each test its own namespace, folder of pins and cgroup, and a small object to load."""

import asyncio
import inspect
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from cilia.kernel import mounts, netns
from cilia.kernel.objects import BpfObject

_NUMBERS = count()
_SOURCE = Path(__file__).parent / "probe.bpf.c"


@pytest.fixture
def name() -> str:
    """A name that no other test and no other run has."""
    return f"ct-{os.getpid()}-k{next(_NUMBERS)}"


@pytest.fixture
def namespace(name: str) -> Iterator[Path]:
    """An empty network namespace."""
    path = netns.create(name)
    yield path
    netns.delete(name)


@pytest.fixture
def pins(name: str) -> Iterator[Path]:
    """An empty folder on the bpf file system."""
    path = Path("/sys/fs/bpf") / name
    mounts.mount_bpffs(path)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def cgroup(name: str) -> Iterator[Path]:
    """An empty cgroup."""
    path = mounts.cgroup2_root() / name
    path.mkdir()
    yield path
    path.rmdir()


@pytest.fixture(scope="session")
def probe_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object with one program of each kind that the tests need."""
    target = tmp_path_factory.mktemp("probe") / "probe.bpf.o"
    machine = f"/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang-19", "-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{machine}"]
    subprocess.run([*command, "-c", str(_SOURCE), "-o", str(target)], check=True)
    return target


@pytest.fixture
def probe(probe_path: Path) -> Iterator[BpfObject]:
    """The object, open and not loaded."""
    with BpfObject(probe_path) as one:
        yield one


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{one: pyfuncitem.funcargs[one] for one in names}))
    return True
