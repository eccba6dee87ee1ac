"""Strategic merge patch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.apiserver.errors import StatusError
from cilia.lab.apiserver.schema import BUILT_IN
from cilia.lab.apiserver.strategic import strategic_merge

POD_SPEC = BUILT_IN["io.k8s.api.core.v1.PodSpec"]
NAMES = st.sampled_from(["a", "b", "c", "d"])
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES}, optional={"image": st.sampled_from("xy"), "tty": st.booleans()}
    ),
    max_size=4,
    unique_by=lambda item: item["name"],
)


@given(old=CONTAINERS, new=CONTAINERS)
def test_containers_merge_by_name(old: list[Any], new: list[Any]) -> None:
    merged = strategic_merge({"containers": old}, {"containers": new}, POD_SPEC)["containers"]

    expected = {item["name"]: item for item in old}
    for item in new:
        expected[item["name"]] = expected.get(item["name"], {}) | item
    assert merged == list(expected.values())


@given(old=CONTAINERS, new=CONTAINERS)
def test_an_element_order_is_kept(old: list[Any], new: list[Any]) -> None:
    order = [{"name": item["name"]} for item in new]
    patch = {"containers": new, "$setElementOrder/containers": order}
    names = [
        item["name"] for item in strategic_merge({"containers": old}, patch, POD_SPEC)["containers"]
    ]

    wanted = [item["name"] for item in new]
    assert [name for name in names if name in wanted] == wanted
    others = [item["name"] for item in old if item["name"] not in wanted]
    assert [name for name in names if name not in wanted] == others


@given(old=CONTAINERS, gone=NAMES)
def test_delete_removes_one_element(old: list[Any], gone: str) -> None:
    patch = {"containers": [{"name": gone, "$patch": "delete"}]}

    merged = strategic_merge({"containers": old}, patch, POD_SPEC)["containers"]
    assert merged == [item for item in old if item["name"] != gone]


def test_directives() -> None:
    def merge(old: Any, patch: Any) -> Any:
        return strategic_merge(old, patch, POD_SPEC)

    old = {"containers": [{"name": "a"}], "nodeSelector": {"x": "y"}, "hostname": "h"}
    replaced = {"containers": [{"$patch": "replace"}, {"name": "b"}]}
    assert merge(old, replaced)["containers"] == [{"name": "b"}]
    assert merge(old, {"nodeSelector": {"$patch": "replace", "z": "1"}})["nodeSelector"] == {
        "z": "1"
    }
    assert "nodeSelector" not in merge(old, {"nodeSelector": {"$patch": "delete"}})
    assert merge(old, {"$retainKeys": ["hostname"], "hostname": "i"}) == {"hostname": "i"}
    assert "hostname" not in merge(old, {"hostname": None})


def test_sets_and_atomic_lists() -> None:
    schema = BUILT_IN["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
    added = strategic_merge({"finalizers": ["a"]}, {"finalizers": ["b"]}, schema)
    dropped = strategic_merge(added, {"$deleteFromPrimitiveList/finalizers": ["a"]}, schema)
    container = BUILT_IN["io.k8s.api.core.v1.Container"]

    assert added == {"finalizers": ["a", "b"]}
    assert dropped == {"finalizers": ["b"]}
    assert strategic_merge({"args": ["1"]}, {"args": ["2"]}, container) == {"args": ["2"]}


@pytest.mark.parametrize(
    "patch",
    [{"containers": [{"image": "x"}]}, {"$patch": "brew"}, {"$deleteFromPrimitiveList/x": 1}],
)
def test_malformed_patches_are_refused(patch: Any) -> None:
    with pytest.raises(StatusError) as caught:
        strategic_merge({"containers": []}, patch, POD_SPEC)
    assert caught.value.code == 400
