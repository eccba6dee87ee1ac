"""The unix socket server: errors become JSON with the right status."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from cilia.model.errors import CiliaError, Conflict, InvalidValue, NotFound
from cilia.wire import unixhttp
from cilia.wire.unixhttp import (
    Request,
    Response,
    UnixServer,
    json_response,
    read_body,
    stream_response,
)


class Order(msgspec.Struct):
    name: str


async def ask(path: Path, method: str, url: str, body: str | None = None) -> tuple[int, str]:
    connector = aiohttp.UnixConnector(str(path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"http://agent{url}", data=body) as response,
    ):
        return response.status, await response.text()


def served(tmp_path: Path, method: str, url: str, body: str | None = None) -> tuple[int, str]:
    errors = {
        "missing": NotFound("endpoint 7: not here"),
        "taken": Conflict("taken"),
        "bad": InvalidValue("bad"),
        "broken": CiliaError("broken"),
        "bug": ValueError("bug"),
    }

    async def raises(request: Request) -> Response:
        raise errors[request.match_info["name"]]

    async def order(request: Request) -> Response:
        return json_response((await read_body(request, Order)).name)

    async def scene() -> tuple[int, str]:
        path = tmp_path / "x.sock"
        path.write_text("left over from a crash")
        server = UnixServer(path, [("GET", "/raise/{name}", raises), ("POST", "/order", order)])
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            task = group.create_task(server.run(ready))
            await ready.wait()
            answer = await ask(path, method, url, body)
            task.cancel()
        assert not path.exists()
        return answer

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("url", "status", "says"),
    [
        ("/raise/missing", 404, "endpoint 7: not here"),
        ("/raise/taken", 409, "taken"),
        ("/raise/bad", 400, "bad"),
        ("/raise/broken", 500, "broken"),
        ("/raise/bug", 500, "see the log"),
        ("/nowhere", 404, "GET /nowhere"),
    ],
)
def test_an_error_has_a_status_and_says_what(
    tmp_path: Path, url: str, status: int, says: str
) -> None:
    code, text = served(tmp_path, "GET", url)
    assert code == status
    assert says in msgspec.json.decode(text)["error"]


def test_a_body_is_checked_and_the_field_named(tmp_path: Path) -> None:
    assert served(tmp_path, "POST", "/order", '{"name": "tea"}') == (200, '"tea"')
    code, text = served(tmp_path, "POST", "/order", '{"name": 7}')
    assert code == 400
    assert "$.name" in text


def test_a_stream_ends_when_its_reader_goes_though_nothing_is_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unixhttp, "_LOOK_S", 0.01)

    async def scene() -> None:
        ended = asyncio.Event()

        async def values() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def stream(request: Request) -> Response:
            return await stream_response(request, values())

        path, ready = tmp_path / "x.sock", asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(UnixServer(path, [("GET", "/values", stream)]).run(ready))
            await ready.wait()
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"GET /values HTTP/1.1\r\nHost: agent\r\n\r\n")
            await reader.readuntil(b"1\n")
            assert not ended.is_set()
            writer.close()
            await ended.wait()
            task.cancel()

    asyncio.run(scene())
