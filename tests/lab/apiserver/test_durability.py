"""kill -9: what was acknowledged is there, and watches go on where they were."""

import http.client
import threading

import pytest

from lab.apiserver.client import Client, config_map
from lab.apiserver.process import ApiServerProcess

PATH = "/api/v1/namespaces/default/configmaps"


def _write_until_killed(api: ApiServerProcess, writer: int, known: list[str]) -> None:
    client = Client(api)
    try:
        for number in range(100_000):
            name = f"w{writer}-{number}"
            client.json("POST", PATH, config_map(name, value=str(number)))
            known.append(name)
    except (OSError, http.client.HTTPException):
        # The kill; the write that it hit was not acknowledged.
        return
    finally:
        client.close()


def test_every_acknowledged_write_survives_kills(own: ApiServerProcess) -> None:
    own.start()
    acknowledged: list[str] = []
    for storm in range(3):
        known: list[list[str]] = [[] for _ in range(4)]
        writers = [
            threading.Thread(
                target=_write_until_killed, args=(own, storm * 4 + index, known[index])
            )
            for index in range(4)
        ]
        for writer in writers:
            writer.start()
        watcher = Client(own)
        events = watcher.watch(f"{PATH}?watch=1&resourceVersion=0")
        for _ in range(200):
            next(events)
        events.close()
        own.kill()
        for writer in writers:
            writer.join()
        watcher.close()
        acknowledged += [name for names in known for name in names]
        own.start()
        client = Client(own)
        found = {item["metadata"]["name"] for item in client.json("GET", PATH)["items"]}
        client.close()
        assert set(acknowledged) <= found


def test_a_watch_resumes_across_a_kill(own: ApiServerProcess) -> None:
    own.start()
    client = Client(own)
    first = client.json("POST", PATH, config_map("a"))
    client.json("POST", PATH, config_map("b"))
    client.json("DELETE", f"{PATH}/a")
    client.close()
    own.kill()
    own.start()

    client = Client(own)
    revision = first["metadata"]["resourceVersion"]
    query = f"watch=1&resourceVersion={revision}&timeoutSeconds=1"
    events = [
        (event["type"], event["object"]["metadata"]["name"])
        for event in client.watch(f"{PATH}?{query}")
    ]
    client.close()
    assert events == [("ADDED", "b"), ("DELETED", "a")]


def test_a_second_server_refuses_the_same_state(own: ApiServerProcess) -> None:
    own.start()
    second = ApiServerProcess(own.folder)
    with pytest.raises(AssertionError, match="locked"):
        second.start()
