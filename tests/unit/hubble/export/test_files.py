"""Rotated files: every line whole and in order, whatever crashes, fills up or moves away."""

import gzip
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.export.files import NotOursError, RotatingFile


def line(number: int, size: int = 0) -> bytes:
    return b'{"flow":{"uuid":"%d%s"}}\n' % (number, b"x" * size)


def content(path: Path) -> bytes:
    """Everything from the oldest backup to the file."""
    backups = sorted(
        path.parent.glob(f"{path.name}.*"),
        key=lambda one: -int(one.name.removeprefix(path.name + ".").removesuffix(".gz")),
    )
    parts = [
        gzip.decompress(one.read_bytes()) if one.suffix == ".gz" else one.read_bytes()
        for one in backups
    ]
    return b"".join([*parts, path.read_bytes() if path.exists() else b""])


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4), st.integers(0, 40)),
        st.tuples(st.just("tear"), st.integers(1, 60), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
        st.tuples(st.just("move"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(actions=actions, max_bytes=st.sampled_from([0, 60, 200]), compress=st.booleans())
def test_whole_lines_in_order(
    actions: list[tuple[str, int, int]], max_bytes: int, compress: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logs" / "events.log"
        file = RotatingFile(path, max_bytes, 0, compress)
        expected: list[bytes] = []
        moved = b""
        for action, count, size in actions:
            if action == "append":
                batch = [line(len(expected) + at, size) for at in range(count)]
                file.append(b"".join(batch))
                expected += batch
            elif action == "tear":  # a crash in the middle of a line
                file.close()
                if path.exists():
                    file.open()  # who writes has mended before
                    file.close()
                    torn = line(len(expected), size)[: min(count, len(line(0)) - 1)]
                    with path.open("ab") as end:
                        end.write(torn)
                file = RotatingFile(path, max_bytes, 0, compress)
            elif action == "restart":
                file.close()
                file = RotatingFile(path, max_bytes, 0, compress)
            elif path.exists():  # another tool that rotates; what is open is not ours any more
                file.close()
                file.open()
                moved += content(path)
                for one in path.parent.glob("*"):
                    one.unlink()
        file.close()
        if path.parent.exists():
            if path.exists():
                file.open()
                file.close()
            assert moved + content(path) == b"".join(expected)


@pytest.mark.parametrize("compress", [False, True])
def test_so_many_backups_are_kept_and_no_more(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "events.log"
    file = RotatingFile(path, len(line(0)), 2, compress)
    for number in range(6):
        file.append(line(number))
    file.close()
    suffix = ".gz" if compress else ""
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "events.log", f"events.log.1{suffix}", f"events.log.2{suffix}",
    ]  # fmt: skip
    assert content(path) == line(3) + line(4) + line(5)
    assert file.rotations == 5
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_a_crash_while_compressing_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    file = RotatingFile(path, len(line(0)), 3, compress=True)
    file.append(line(0))
    file.append(line(1))
    (tmp_path / "events.log.1").write_bytes(line(0))  # not removed yet
    (tmp_path / "events.log.1.gz.part").write_bytes(b"half")
    file.close()
    file = RotatingFile(path, len(line(0)), 3, compress=True)
    file.append(line(2))
    file.close()
    assert content(path) == line(0) + line(1) + line(2)


@pytest.mark.parametrize("text", [b"root:x:0:0\nlast", b'{"a": 1}', b'{"flow": 1}', b"x\0"])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "passwd"
    path.write_bytes(text)
    with pytest.raises(NotOursError, match="JSON lines"):
        RotatingFile(path, 0, 0, compress=False).append(line(0))
    assert path.read_bytes() == text


def test_what_a_power_cut_leaves_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(line(0) + b'{"flow":{"uu' + bytes(70_000))
    file = RotatingFile(path, 0, 0, compress=False)
    file.append(line(1))
    file.close()
    assert path.read_bytes() == line(0) + line(1)
    assert file.torn == 70_012


def test_neither_folders_nor_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular file"):
        RotatingFile(tmp_path / "pipe", 0, 0, compress=False).open()
    with pytest.raises(IsADirectoryError):
        RotatingFile(tmp_path, 0, 0, compress=False).open()


@contextmanager
def full_beyond(size: int) -> Iterator[None]:
    """As if the disk had room for files of that size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    file = RotatingFile(path, 0, 0, compress=False)
    file.append(line(0))
    with full_beyond(len(line(0)) + 5), pytest.raises(OSError, match="too large"):
        file.append(line(1))
    assert path.read_bytes() == line(0)
    file.append(line(1))
    file.close()
    assert path.read_bytes() == line(0) + line(1)
