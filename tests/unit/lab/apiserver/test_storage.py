"""The store."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.lab.apiserver import storage
from cilia.lab.apiserver.errors import StatusError
from cilia.lab.apiserver.storage import Store


def item(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n"}, **more}


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from("abc"), st.integers(0, 3)),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(actions=ACTIONS)
def test_a_reopened_store_is_the_same(
    actions: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store") / "db"
    store = Store(path)
    model: dict[str, int] = {}
    for action, name, value in actions:
        if action == "put":
            store.put("things", item(name, value=value))
            model[name] = value
        elif name in model:
            store.delete("things", ("n", name))
            del model[name]
    revision, changes = store.revision, store.since("things", 0)
    store.close()

    again = Store(path)
    assert {found["metadata"]["name"]: found["value"] for found in again.items("things")} == model
    assert again.revision == revision
    assert again.since("things", 0) == changes
    again.close()


def test_revisions_grow_over_all_resources(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    one = store.put("a", item("x"))
    other = store.put("b", item("y"))
    gone = store.delete("a", ("n", "x"))

    revisions = [int(found["metadata"]["resourceVersion"]) for found in (one, other, gone)]
    assert revisions == [1, 2, 3]
    assert [change.type for change in store.since("a", 0)] == ["ADDED", "DELETED"]
    store.close()


def test_too_old_a_revision_is_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "HISTORY", 5)
    store = Store(tmp_path / "db")
    for number in range(9):
        store.put("a", item("x", value=number))

    assert len(store.since("a", 4)) == 5
    with pytest.raises(StatusError) as caught:
        store.since("a", 3)
    assert caught.value.code == 410
    store.close()


def test_listeners_hear_after_the_commit(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    heard: list[tuple[str, bool]] = []
    subscription = store.subscribe(
        "a", lambda change: heard.append((change.type, store.get("a", ("n", "x")) is not None))
    )
    store.put("a", item("x"))
    store.put("b", item("x"))
    store.delete("a", ("n", "x"))
    store.unsubscribe(subscription)
    store.put("a", item("x"))

    assert heard == [("ADDED", True), ("DELETED", False)]
    store.close()
