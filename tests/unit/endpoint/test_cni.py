"""What a container runtime may send: every refusal has CNI's code and names the field."""

import json
import string
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.endpoint import cni
from cilia.endpoint.cni import Attached, CniError, RawRequest

GOOD = RawRequest(
    container_id="abc-1",
    netns="/run/netns/x",
    ifname="eth0",
    args="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=1-2",
    config={"cniVersion": "1.0.0"},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def outcome(decode: Callable[[Any], Any], given: object) -> tuple[Any, int]:
    """What was decoded and 0, or nothing and the refusal's code."""
    try:
        return decode(given), 0
    except CniError as error:
        return None, error.code


def refusal(**changes: object) -> CniError:
    with pytest.raises(CniError) as caught:
        cni.decode_pod(msgspec.structs.replace(GOOD, **changes))
    return caught.value


def test_a_whole_request() -> None:
    request = cni.decode_pod(GOOD)
    assert (request.name, request.uid, request.version) == ("default/web-0", "1-2", "1.0.0")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"container_id": ""}, 4, "CNI_CONTAINERID"),
        ({"container_id": "../../etc"}, 4, "CNI_CONTAINERID"),
        ({"container_id": "a\n"}, 4, "CNI_CONTAINERID"),
        ({"ifname": "a" * 16}, 4, "CNI_IFNAME"),
        ({"ifname": "a/b"}, 4, "CNI_IFNAME"),
        ({"ifname": ".."}, 4, "CNI_IFNAME"),
        ({"ifname": "eth\u00e9"}, 4, "CNI_IFNAME"),
        ({"netns": ""}, 4, "CNI_NETNS"),
        ({"netns": "x/y"}, 4, "CNI_NETNS"),
        ({"netns": "/a\0b"}, 4, "CNI_NETNS"),
        ({"args": "K8S_POD_NAMESPACE"}, 4, "CNI_ARGS"),
        ({"args": ""}, 4, "K8S_POD_NAMESPACE"),
        ({"args": "K8S_POD_NAMESPACE=a;K8S_POD_NAME=../b"}, 4, "K8S_POD_NAME"),
        ({"args": "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=;;=x"}, 4, "CNI_ARGS"),
        ({"config": {}}, 7, "cniVersion"),
        ({"config": {"cniVersion": 1}}, 7, "cniVersion"),
        ({"config": {"cniVersion": "0.2.0"}}, 1, "cniVersion"),
        ({"config": {"cniVersion": "1.1.0", "prevResult": 5}}, 7, "prevResult"),
    ],
)
def test_each_refusal_names_its_field(changes: dict[str, object], code: int, field: str) -> None:
    error = refusal(**changes)
    assert error.code == code
    assert field in str(error)
    assert cni.encode_error(error)["code"] == code


TEXT = st.text(max_size=20) | st.text(string.printable, max_size=20)


@given(TEXT, TEXT, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=3))
def test_hostile_variables_are_refused_or_harmless(
    container: str, netns: str, ifname: str, args: str, config: dict[str, object]
) -> None:
    raw = RawRequest(container, netns, ifname, args, {"cniVersion": "1.1.0", **config})
    request, code = outcome(cni.decode_pod, raw)
    assert code in (0, 1, 4, 7)
    if request is None:
        return
    assert "/" not in request.container + request.ifname + request.namespace + request.pod
    assert request.netns.startswith("/")


@given(st.binary(max_size=60))
def test_hostile_bytes(body: bytes) -> None:
    assert outcome(cni.decode_raw, body)[1] in (0, 6)


@given(JSON)
def test_hostile_collections_collect_nothing(found: object) -> None:
    config = {"cniVersion": "1.1.0", "cni.dev/valid-attachments": found}
    assert outcome(cni.decode_valid_attachments, config)[1] in (0, 7)


ATTACHED = Attached(
    host_device="lxc0", host_mac="02:00:00:00:00:01", ifname="eth0", mac="02:00:00:00:00:02",
    netns="/run/netns/x", mtu=1500,
    addresses=(("10.0.1.5/32", "10.0.1.1"), ("fd00::5/128", "fd00::1")),
)  # fmt: skip


@pytest.mark.parametrize("version", cni.VERSIONS)
def test_a_result_in_each_version(version: str) -> None:
    result = json.loads(json.dumps(cni.encode_result(ATTACHED, version)))
    assert result["cniVersion"] == version
    assert [one["interface"] for one in result["ips"]] == [1, 1]
    assert ("version" in result["ips"][0]) == (version < "1")
    assert result["routes"][1] == {"dst": "::/0", "gw": "fd00::1"}
    assert ("mtu" in result["interfaces"][0]) == (version == "1.1.0")


def labelled(**config: object) -> RawRequest:
    return msgspec.structs.replace(GOOD, config={"cniVersion": "1.0.0", **config})


def test_labels_come_as_the_convention_says_or_by_capability_which_wins() -> None:
    args = {"cni": {"labels": [{"key": "app", "value": "web"}, {"key": "org.x/b", "value": "1"}]}}
    found = cni.decode_pod(labelled(args=args, runtimeConfig={"labels": {"app": "db"}}))
    assert found.labels == (("app", "db"), ("org.x/b", "1"))
    assert cni.decode_pod(GOOD).labels == ()


@pytest.mark.parametrize(
    "config",
    [
        {"args": {"cni": {"labels": {"app": "web"}}}},
        {"args": {"cni": {"labels": [{"key": "a=b", "value": "c"}]}}},
        {"args": {"cni": {"labels": [{"key": "a", "value": "x" * 64}]}}},
        {"runtimeConfig": {"labels": {"": "x"}}},
        {"runtimeConfig": {"labels": {"a": 1}}},
        {"runtimeConfig": {"labels": {"k8s:a": "b"}}},
    ],
)
def test_what_is_no_label_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(CniError, match="labels") as caught:
        cni.decode_pod(labelled(**config))
    assert caught.value.code == cni.INVALID_CONFIG
