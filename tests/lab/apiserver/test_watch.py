"""Lists and watches as controllers use them."""

import json

import pytest

from lab.apiserver.client import Client, config_map
from lab.apiserver.process import ApiServerProcess


@pytest.fixture
def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def _seen(client: Client, path: str) -> list[tuple[str, str]]:
    events = client.watch(f"{path}&timeoutSeconds=1")
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_watch_from_a_lists_revision_misses_and_repeats_nothing(client: Client, path: str) -> None:
    client.json("POST", path, config_map("before"))
    revision = client.json("GET", path)["metadata"]["resourceVersion"]
    client.json("POST", path, config_map("after"))
    client.json("DELETE", f"{path}/before")

    seen = _seen(client, f"{path}?watch=1&resourceVersion={revision}")
    assert seen == [("ADDED", "after"), ("DELETED", "before")]


def test_leaving_and_entering_a_selection(client: Client, path: str) -> None:
    revision = client.json("GET", path)["metadata"]["resourceVersion"]
    item = config_map("c")
    client.json("POST", path, item)
    for labels in ({"a": "b"}, {"a": "b", "x": "y"}, {"a": "c"}):
        current = client.json("GET", f"{path}/c")
        current["metadata"]["labels"] = labels
        client.json("PUT", f"{path}/c", current)

    seen = _seen(client, f"{path}?watch=1&labelSelector=a%3Db&resourceVersion={revision}")
    assert seen == [("ADDED", "c"), ("MODIFIED", "c"), ("DELETED", "c")]


def test_watch_list_ends_its_start_with_a_marked_bookmark(client: Client, path: str) -> None:
    client.json("POST", path, config_map("c"))
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1"
    query += "&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Dc"
    first, mark, *_ = list(client.watch(f"{path}?{query}"))

    assert first["type"] == "ADDED"
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(
        first["object"]["metadata"]["resourceVersion"]
    )


def test_pages_cover_everything_once(client: Client, path: str) -> None:
    for number in range(7):
        client.json("POST", path, config_map(f"c{number}"))
    names, token = [], ""
    while True:
        page = client.json("GET", f"{path}?limit=3&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break

    assert names == [*(f"c{number}" for number in range(7)), "kube-root-ca.crt"]


def test_a_stale_write_is_a_conflict(client: Client, path: str) -> None:
    stale = client.json("POST", path, config_map("c", a="1"))
    fresh = stale | {"data": {"a": "2"}}
    client.json("PUT", f"{path}/c", fresh)

    status, body = client.raw("PUT", f"{path}/c", json.dumps(stale).encode())
    answer = json.loads(body)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer["message"]


def test_a_revision_from_the_future_must_list_again(client: Client, path: str) -> None:
    status, body = client.raw("GET", f"{path}?watch=1&resourceVersion=99999999")

    assert (status, json.loads(body)["reason"]) == (410, "Expired")


def test_writing_the_same_again_changes_nothing(client: Client, path: str) -> None:
    made = client.json("POST", path, config_map("c", a="1"))

    again = client.json("PUT", f"{path}/c", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_strangers_may_ask_for_health_only(api: ApiServerProcess) -> None:
    stranger = Client(api, certificate=False)

    assert stranger.raw("GET", "/healthz") == (200, b"ok")
    assert stranger.raw("GET", "/version")[0] == 200
    status, body = stranger.raw("GET", "/api/v1/pods")
    stranger.close()
    assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")
