"""What the agent says of exports that the observer cannot write."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from cilia.agent.health import failing_exports, hubble_status
from cilia.hubble.export.service import ExportStatus, LogStatus
from cilia.hubble.export.source import Counts


def test_errors_are_named_by_log(tmp_path: Path) -> None:
    logs = tuple(
        LogStatus(
            name=name, path="/x", counts=Counts(), backlog=0, rotations=0, torn_bytes=0, error=error
        )
        for name, error in (("good", ""), ("bad", "write /x: No space left on device"))
    )
    path = tmp_path / "status.json"
    path.write_bytes(msgspec.json.encode(ExportStatus(logs, "", 1)))
    assert failing_exports(path) == "bad: write /x: No space left on device"
    path.write_bytes(msgspec.json.encode(ExportStatus((), "a.yaml: Expected `array`", 1)))
    assert failing_exports(path) == "a.yaml: Expected `array`"
    assert failing_exports(tmp_path / "nothing") == ""


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "7", "[]", '{"logs": 7, "error": ""}', '{"logs": [{}], "error": ""}',
     '{"logs": [], "error": 7}'],
)  # fmt: skip
def test_a_status_of_another_shape_tells_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(text)
    assert failing_exports(path) == ""


def test_a_failing_export_is_a_warning(tmp_path: Path) -> None:
    async def scene() -> None:
        socket, told = tmp_path / "hubble.sock", tmp_path / "status.json"
        server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), str(socket))
        async with server:
            assert hubble_status(socket, told)["state"] == "Ok"
            told.write_bytes(msgspec.json.encode(ExportStatus((), "wrong", 1)))
            status = hubble_status(socket, told)
        assert status["state"] == "Warning"
        assert status["msg"].endswith("export fails: wrong")

    asyncio.run(scene())
