"""Files of one owner, and as many as the system grants."""

import os
import resource
from pathlib import Path

import pytest

from cilia.runtime.files import open_private, raise_file_limit


@pytest.mark.parametrize("before", [None, 0o644])
def test_a_private_file_is_its_owners_alone(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(b"old")
        path.chmod(before)
    with open(path, "wb", opener=open_private) as file:
        file.write(b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"x"


def test_a_private_file_is_not_handed_to_children(tmp_path: Path) -> None:
    descriptor = open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_the_limit_of_open_files_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        assert raise_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
