"""A cluster in this process, without HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cilia.lab.apiserver.certificates import ensure_certificates
from cilia.lab.apiserver.config import ApiServerConfig
from cilia.lab.apiserver.service import Cluster


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ensure_certificates(folder, ("localhost",))
    return folder


@pytest.fixture
def cluster(tmp_path: Path, certificates: Path) -> Iterator[Cluster]:
    (tmp_path / "certificates").symlink_to(certificates)
    made = Cluster(ApiServerConfig(state=tmp_path, listeners=()))
    yield made
    made.close()
