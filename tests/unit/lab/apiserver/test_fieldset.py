"""Field sets and server-side apply."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.apiserver.apply import apply_patch
from cilia.lab.apiserver.errors import StatusError
from cilia.lab.apiserver.fieldset import (
    MISSING,
    decode_fields,
    encode_fields,
    field_set,
    merge,
    remove,
    shown_path,
    value_at,
)
from cilia.lab.apiserver.options import WriteOptions
from cilia.lab.apiserver.schema import object_schema

POD = object_schema("io.k8s.api.core.v1.Pod", None)
TEXTS = st.sampled_from(["x", "y", "z"])
CONTAINER = st.fixed_dictionaries(
    {"name": TEXTS},
    optional={
        "image": TEXTS,
        "args": st.lists(TEXTS, max_size=2),
        "ports": st.lists(
            st.fixed_dictionaries({"containerPort": st.integers(1, 3)}),
            max_size=2,
            unique_by=lambda port: port["containerPort"],
        ),
    },
)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({}, optional={"labels": st.dictionaries(TEXTS, TEXTS)}),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINER, max_size=3, unique_by=lambda entry: entry["name"])},
            optional={"hostname": TEXTS, "nodeSelector": st.dictionaries(TEXTS, TEXTS)},
        ),
    }
)


@given(pod=PODS)
def test_fields_survive_their_encoding(pod: Any) -> None:
    paths = field_set(pod, POD)

    assert decode_fields(encode_fields(paths)) == paths


@given(pod=PODS)
def test_every_path_of_a_set_leads_to_a_value(pod: Any) -> None:
    assert all(value_at(pod, POD, path) is not MISSING for path in field_set(pod, POD))


@given(old=PODS, config=PODS)
def test_a_merge_holds_what_was_configured_and_keeps_the_rest(old: Any, config: Any) -> None:
    merged = merge(old, config, POD)
    wanted = field_set(config, POD)

    for path in wanted:
        # An empty list or map in a configuration empties nothing.
        if value_at(config, POD, path) not in ({}, []) and not path[-1].startswith("k:"):
            assert value_at(merged, POD, path) == value_at(config, POD, path)
    assert {
        path for path in field_set(old, POD) - wanted if path[-1].startswith("k:")
    } <= field_set(merged, POD)


@given(pod=PODS, data=st.data())
def test_what_is_removed_is_gone(pod: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(field_set(pod, POD))))

    assert value_at(remove(pod, POD, path), POD, path) is MISSING


def _pod(**spec: Any) -> Any:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def _apply(old: Any, config: Any, manager: str, *, force: bool = False) -> Any:
    item, managed = apply_patch(old, config, POD, WriteOptions(manager=manager, force=force), "")
    item["metadata"] = item["metadata"] | {"managedFields": managed}
    return item


def test_managers_share_equal_values_and_fight_over_others() -> None:
    one = _apply(None, _pod(hostname="a", subdomain="s"), "one")
    shared = _apply(one, _pod(hostname="a"), "two")

    with pytest.raises(StatusError) as caught:
        _apply(shared, _pod(hostname="b"), "three")
    assert caught.value.code == 409
    assert [cause["field"] for cause in caught.value.details["causes"]] == [".spec.hostname"] * 2
    forced = _apply(shared, _pod(hostname="b"), "three", force=True)
    assert forced["spec"] == {"hostname": "b", "subdomain": "s"}


def test_a_field_goes_when_its_last_manager_drops_it() -> None:
    item = _apply(None, _pod(hostname="a", subdomain="s"), "one")
    item = _apply(item, _pod(hostname="a"), "two")
    item = _apply(item, _pod(), "one")
    assert item["spec"] == {"hostname": "a"}

    item = _apply(item, _pod(), "two")
    assert "hostname" not in item.get("spec", {})


def test_conflicts_name_paths_readably() -> None:
    path = ("f:spec", "f:containers", 'k:{"name":"x"}', "f:image")

    assert shown_path(path) == '.spec.containers[name="x"].image'
