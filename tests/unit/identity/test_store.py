"""CiliumIdentity objects: what is written is what is read."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cilia.identity.store import UNUSED, CiliumIdentity, from_object, to_object
from cilia.model.labels import Label, label_set

names = st.text("abcXYZ09-_./", min_size=1, max_size=12)
labels = st.lists(
    st.builds(Label, st.sampled_from(["k8s", "container"]), names, names), min_size=1
).map(label_set)


@given(labels)
def test_a_label_set_survives_the_object(labels: tuple[str, ...]) -> None:
    keys = [label.partition("=")[0] for label in labels]
    unique = tuple(label for label in labels if keys.count(label.partition("=")[0]) == 1)
    read = from_object(msgspec.convert(to_object(4711, unique), CiliumIdentity))
    assert read is not None
    assert (read.number, read.labels) == (4711, unique)


def test_an_object_that_is_not_ours_is_left_alone() -> None:
    assert from_object(msgspec.convert({"metadata": {"name": "web"}}, CiliumIdentity)) is None


def test_the_mark_is_read() -> None:
    item = {"metadata": {"name": "300", "annotations": {UNUSED: "12"}}, "security-labels": {}}
    read = from_object(msgspec.convert(item, CiliumIdentity))
    assert read is not None
    assert read.unused_since == 12.0
