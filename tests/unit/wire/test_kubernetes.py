"""The Kubernetes client against a small server that misbehaves on purpose."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from cilia.wire.credentials import Credentials
from cilia.wire.kubernetes import (
    ApiError,
    ApiUnreachable,
    Changed,
    Gone,
    KubernetesClient,
    Synced,
)

PATH = "/api/v1/things"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Meta(msgspec.Struct):
    name: str


class Thing(msgspec.Struct):
    metadata: Meta


def thing(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {"size": version}}


def page(version: int, *names: str, following: str = "") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), "continue": following}
        items = [thing(name, version) for name in names]
        return web.json_response({"metadata": metadata, "items": items})

    return answer


def watch(*events: tuple[str, Any], cut: bool = False) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for kind, body in events:
            line = json.dumps({"type": kind, "object": body}).encode() + b"\n"
            # In two pieces: a line need not arrive as one.
            await response.write(line[:7])
            await response.write(line[7:])
        if cut and request.transport is not None:
            await response.write(b'{"type":"ADDED","obj')
            request.transport.close()
        return response

    return answer


def refuse(status: int, reason: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "code": status, "reason": reason, "message": f"{reason}!"}
        return web.json_response(body, status=status)

    return answer


class Script:
    """A server that gives its answers in order, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if not self.answers:
            await asyncio.Event().wait()
        return await self.answers.pop(0)(request)


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[KubernetesClient]:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", script.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with KubernetesClient(Credentials(f"http://127.0.0.1:{port}")) as client:
            yield client
    finally:
        await runner.cleanup()


def follow(script: Script, count: int) -> list[tuple[str, Any]]:
    """Returns the first `count` events as (kind, names)."""

    async def scene() -> list[tuple[str, Any]]:
        told: list[tuple[str, Any]] = []
        async with asyncio.timeout(20), serving(script) as client:
            async for event in client.list_watch(PATH, Thing, label_selector="a=b"):
                match event:
                    case Synced(items):
                        told.append(("synced", [item.metadata.name for item in items]))
                    case Changed(item):
                        told.append(("changed", item.metadata.name))
                    case Gone(item):
                        told.append(("gone", item.metadata.name))
                if len(told) == count:
                    break
        return told

    return asyncio.run(scene())


def test_pages_are_joined_and_changes_follow() -> None:
    script = Script(
        page(5, "a", following="more"),
        page(5, "b"),
        watch(("ADDED", thing("c", 6)), ("MODIFIED", thing("a", 7)), ("DELETED", thing("b", 8))),
    )
    assert follow(script, 4) == [
        ("synced", ["a", "b"]),
        ("changed", "c"),
        ("changed", "a"),
        ("gone", "b"),
    ]
    assert script.asked[1]["continue"] == "more"
    assert script.asked[2]["resourceVersion"] == "5"
    assert all(asked["labelSelector"] == "a=b" for asked in script.asked)


def test_a_cut_watch_resumes_behind_the_last_event_and_bookmark() -> None:
    script = Script(
        page(5),
        watch(("ADDED", thing("a", 6)), cut=True),
        watch(("BOOKMARK", {"metadata": {"resourceVersion": "40"}}), cut=True),
        watch(("ADDED", thing("b", 41))),
    )
    assert follow(script, 3) == [("synced", []), ("changed", "a"), ("changed", "b")]
    assert [asked.get("resourceVersion") for asked in script.asked[1:]] == ["5", "6", "40"]


@pytest.mark.parametrize(
    "expiry",
    [
        refuse(410, "Expired"),
        watch(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"})),
    ],
)
def test_a_forgotten_version_lists_again(expiry: Answer) -> None:
    script = Script(page(5, "a"), expiry, page(9, "b"), watch(("ADDED", thing("c", 10))))
    assert follow(script, 3) == [("synced", ["a"]), ("synced", ["b"]), ("changed", "c")]


def test_a_page_that_expires_starts_the_list_again() -> None:
    script = Script(page(5, "a", following="x"), refuse(410, "Expired"), page(9, "a", "b"))
    assert follow(script, 1) == [("synced", ["a", "b"])]


def test_refusals_and_nonsense_are_retried() -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    script = Script(
        refuse(404, "NotFound"), refuse(503, ""), nonsense, page(5, "a"), nonsense, page(6)
    )
    assert follow(script, 1) == [("synced", ["a"])]


def test_an_item_that_is_not_of_its_kind_is_left_out() -> None:
    broken = {"metadata": {"resourceVersion": "6"}}
    script = Script(page(5, "a"), watch(("ADDED", broken), ("ADDED", thing("b", 7))))
    assert follow(script, 2) == [("synced", ["a"]), ("changed", "b")]


def test_a_refused_request_says_who_refused_what() -> None:
    async def scene() -> ApiError:
        async with serving(Script(refuse(409, "AlreadyExists"))) as client:
            with pytest.raises(ApiError, match="POST /api/v1/things: AlreadyExists!") as caught:
                await client.create(PATH, {"metadata": {"name": "a"}})
            assert client.last_error == ""
            return caught.value

    error = asyncio.run(scene())
    assert (error.status, error.reason, error.is_conflict) == (409, "AlreadyExists", True)


def test_a_server_that_is_away_is_unreachable_and_noted() -> None:
    async def scene() -> None:
        async with KubernetesClient(Credentials("http://127.0.0.1:1"), timeout_s=5) as client:
            with pytest.raises(ApiUnreachable, match=r"GET /x at http://127\.0\.0\.1:1"):
                await client.get("/x")
            assert client.last_error

    asyncio.run(scene())


def test_a_token_file_is_read_anew(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    credentials = Credentials("http://x", token_path=token)
    assert credentials.bearer() == "first"
    token.write_text("second")
    assert credentials.bearer() == "second"
