"""Whatever anybody says: a clear answer, an agent that stays up, and the last good state."""

import json
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cilia.wire.http10 import decode_answer
from cilia.wire.kubernetes import ApiError, KubernetesClient
from lab.bare_lab import POLICIES, BareLab, bare_lab
from lab.running_lab import wait_for

SELECTOR = {"matchLabels": {"app": "guarded"}}
GOOD = {"endpointSelector": SELECTOR, "ingress": [{"fromEndpoints": [SELECTOR]}]}
some = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@pytest.fixture(scope="module")
def own(kubectl: str) -> Iterator[BareLab]:
    """A lab of this module's own, with one pod and its policy."""
    with bare_lab("i", kubectl) as lab:
        lab.connect("guarded", {"app": "guarded"})
        lab.apply("good", GOOD)
        wait_for("the policy is enforced", lambda: lab.enforces("guarded", "ingress"))
        yield lab


@pytest.fixture(autouse=True)
def the_agent_stays_up(own: BareLab) -> Iterator[None]:
    """The same agent, well, with the same policy in force, before and after."""
    before = own.pid("agent")
    rows = own.ask("GET", "/v1/bpf/policy")
    yield
    assert own.pid("agent") == before
    wait_for("it is well", own.is_well)
    assert own.enforces("guarded", "ingress")
    assert own.ask("GET", "/v1/bpf/policy") == rows


# Policies

leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.text(max_size=20),
    st.sampled_from(["10.0.0.0/33", "fe80::/129", "10.0.0.1/8", "77777", "-1", "0", "http", ""]),
)
words = st.sampled_from(
    [
        *("endpointSelector", "nodeSelector", "ingress", "egress", "ingressDeny"),
        *("fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet", "cidr", "except"),
        *("toPorts", "ports", "port", "endPort", "protocol", "icmps", "fields", "family", "type"),
        *("toFQDNs", "toServices", "matchLabels", "matchExpressions", "key", "operator", "values"),
        *("rules", "http", "enableDefaultDeny"),
    ]
)
nonsense = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(words, st.text(max_size=8)), inner)
    ),
    max_leaves=12,
)
rule = st.one_of(
    st.fixed_dictionaries({}, optional={"fromCIDR": st.lists(leaf, max_size=2)}),
    st.builds(
        lambda port, protocol: {"toPorts": [{"ports": [{"port": port, "protocol": protocol}]}]},
        st.one_of(leaf, st.text(max_size=20)),
        st.one_of(leaf, st.sampled_from(["TCP", "ANY", "GRE"])),
    ),
    st.builds(
        lambda operator, key: {
            "fromEndpoints": [{"matchExpressions": [{"key": key, "operator": operator}]}]
        },
        st.sampled_from(["In", "NotIn", "Exists", "Gt", ""]),
        st.text(max_size=10),
    ),
    st.builds(lambda entity: {"fromEntities": [entity]}, leaf),
    nonsense,
)
specs = st.one_of(
    st.builds(
        lambda rules: {"endpointSelector": {"matchLabels": {"app": "nobody"}}, "ingress": rules},
        st.lists(rule, min_size=1, max_size=2),
    ),
    nonsense,
)


def refused(
    lab: BareLab, work: Callable[[KubernetesClient], Coroutine[Any, Any, Any]]
) -> ApiError | None:
    """What the API server has against it; None: nothing."""
    try:
        lab.api(work)
    except ApiError as refusal:
        return refusal
    return None


@some
@example({"endpointSelector": {}, "ingress": [{"toPorts": [{"ports": [{"port": "77777"}]}]}]})
@given(specs)
def test_a_bad_policy_is_refused_with_the_field_or_marked_invalid(own: BareLab, spec: Any) -> None:
    document = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "garbage"},
        "spec": spec,
    }
    refusal = refused(own, lambda client: client.create(POLICIES, document))
    if refusal is not None:
        assert 400 <= refusal.status < 500, refusal
        assert refusal.message
        return
    try:
        wait_for(f"it is judged: {spec!r}", lambda: bool(own.condition("garbage")), 15)
        found = own.condition("garbage")
        assert found["type"] == "Valid"
        if found["status"] == "False":
            assert "spec" in found["message"], (spec, found)
    finally:
        own.remove_policy("garbage")
    wait_for("it is gone", lambda: "garbage" not in json.dumps(own.ask("GET", "/v1/policy")[1]))


@some
@given(st.one_of(nonsense, specs))
def test_garbage_in_place_of_a_good_policy_leaves_the_good_one_in_force(
    own: BareLab, spec: Any
) -> None:
    bad = {**GOOD, "ingress": [{"fromCIDR": ["10.0.0.0/33"]}], "description": repr(spec)}

    refusal = refused(own, lambda client: client.patch(f"{POLICIES}/good", {"spec": bad}))
    assert refusal is None or 400 <= refusal.status < 500, refusal
    assert own.enforces("guarded", "ingress")


# CNI

VARIABLES = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS")
COMMANDS = ("ADD", "CHECK", "STATUS", "GC", "VERSION", "")
bytes_of_a_variable = st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"/")))
configurations = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(
        st.sampled_from(["cniVersion", "name", "type", "prevResult", "ipam"]), nonsense
    ).map(lambda value: json.dumps(value).encode()),
)


@some
@given(
    st.sampled_from(COMMANDS),
    configurations,
    st.dictionaries(st.sampled_from(VARIABLES), bytes_of_a_variable),
)
def test_whatever_the_plugin_is_told_it_answers_in_json(
    own: BareLab, command: str, text: bytes, variables: dict[str, str]
) -> None:
    text = text.replace(b"{", b'{"socket": "%s", ' % bytes(own.node.agent_socket), 1)
    done = own.run_plugin(text, {"CNI_COMMAND": command, **variables})
    assert done.stderr == ""
    if done.returncode:
        refusal = json.loads(done.stdout)
        assert refusal["code"] > 0
        assert refusal["msg"]
    deleted = own.run_plugin(text, {"CNI_COMMAND": "DEL", **variables})
    assert deleted.returncode == 0
    assert "Traceback" not in deleted.stderr


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("CNI_CONTAINERID", "", "CNI_CONTAINERID"),
        ("CNI_NETNS", "somewhere", "CNI_NETNS"),
        ("CNI_NETNS", "/run/netns/cilia-there-is-none", "cilia-there-is-none"),
        ("CNI_IFNAME", "much/too/long", "CNI_IFNAME"),
        ("CNI_ARGS", "K8S_POD_NAME", "CNI_ARGS"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=B_", "K8S_POD_NAME"),
        ("CNI_COMMAND", "RUN", "CNI_COMMAND"),
    ],
)
def test_a_bad_variable_is_named(own: BareLab, variable: str, value: str, named: str) -> None:
    good = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c" * 64,
        "CNI_NETNS": "/run/netns/cilia-there-is-none",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=nobody",
    }
    text = json.dumps({"cniVersion": "1.1.0", "socket": str(own.node.agent_socket)}).encode()
    done = own.run_plugin(text, {**good, variable: value})
    refusal = json.loads(done.stdout)
    assert done.returncode == 1
    assert refusal["code"] == 4
    assert named in refusal["msg"]


# The agent's API

paths = st.sampled_from(
    [
        "/v1/endpoint/{}",
        "/v1/endpoint/{}/log",
        "/v1/endpoint/{}/healthz",
        "/v1/endpoint/pod-name:{}",
        "/v1/endpoint/container-id:{}",
        "/v1/identity/{}",
        "/v1/map/{}",
        "/v1/provenance/{}",
        "/v1/bpf/policy?endpoint={}",
        "/v1/bpf/ipcache?match={}",
        "/v1/cni/{}",
        "/v1/{}",
        "/{}",
    ]
)
names = st.one_of(
    st.text(max_size=20),
    st.integers(-10, 2**70).map(str),
    st.sampled_from(["9" * 5000, "..", "../..", "%00", "٣", "²", "1e9", "policy", "add", "gc"]),
)


@settings(some, max_examples=150)
@example("GET", "/v1/endpoint/{}", "9" * 5000, b"")
@example("GET", "/v1/provenance/{}", "9" * 5000, b"")
@example("GET", "/v1/bpf/policy?endpoint={}", "9" * 30, b"")
@example("POST", "/v1/cni/{}", "add", b"[]")
@example("POST", "/v1/cni/{}", "gc", b"{}")
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"]),
    paths,
    names,
    st.one_of(st.binary(max_size=40), nonsense.map(lambda value: json.dumps(value).encode())),
)
def test_a_bad_request_is_the_client_s_fault(
    own: BareLab, method: str, path: str, name: str, body: bytes
) -> None:
    status, answer = own.ask(method, path.format(quote(name, safe="/.:%")), body)
    assert status < 500, answer
    if status >= 400 and answer is not None:
        assert answer.get("error") or answer.get("msg")


@some
@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_request_ends_with_its_connection(own: BareLab, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(own.node.agent_socket))
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    if answer:
        assert decode_answer(answer)[0] < 500
