"""The kubelet's pure decisions: variables, logs, restarts, probes, status, CNI."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.kubelet import cni
from cilia.lab.kubelet.config import KubeletConfig, encode_config, read_config
from cilia.lab.kubelet.environment import (
    BadConfiguration,
    ObjectLookup,
    container_variables,
    expand,
    field_value,
    service_variables,
)
from cilia.lab.kubelet.launch import resolv_conf
from cilia.lab.kubelet.logs import Follower, LineRenderer, LogOptions, parse_options, read_log
from cilia.lab.kubelet.pod import Container, Pod, Probe, parse_pod
from cilia.lab.kubelet.probes import Threshold
from cilia.lab.kubelet.shim.container import ContainerState
from cilia.lab.kubelet.shim.log import Framer, LogFile
from cilia.lab.kubelet.status import pod_status
from cilia.lab.kubelet.tracked import Tracked, next_backoff, phase, will_restart
from cilia.model.errors import InvalidValue
from cilia.model.site import NodeSite


def make_pod(**spec: object) -> Pod:
    return parse_pod(
        {
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
        }
    )


def run(exit_code: int | None, ident: str = "r", seconds: float = 1.0) -> ContainerState:
    return {"name": "c", "id": ident, "attempt": 0, "pid": 1, "started": 100.0,
            "finished": 0.0 if exit_code is None else 100.0 + seconds,
            "exit_code": exit_code or 0, "signal": 0, "cgroup": ""}  # fmt: skip


def tracked(*runs: ContainerState, **more: object) -> Tracked:
    return Tracked(Container("c", "i"), runs=list(runs), **more)  # type: ignore[arg-type]


# Variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "x"), ("$(NO)", "$(NO)"), ("$$(A)", "$(A)"), ("$$$(A)", "$x"), ("$A", "$A"),
        ("a$", "a$"), ("$(A", "$(A"), ("$()", "$()"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "x"}) == expected


def slow_expand(text: str, variables: dict[str, str]) -> str:
    """Character by character, as the documentation tells it."""
    out, i = "", 0
    while i < len(text):
        if text[i] != "$" or i + 1 == len(text):
            out, i = out + text[i], i + 1
        elif text[i + 1] == "$":
            out, i = out + "$", i + 2
        elif text[i + 1] == "(":
            end = text.find(")", i)
            name = text[i + 2 : end]
            if end < 0 or "(" in name:
                out, i = out + "$", i + 1
            else:
                out, i = out + variables.get(name, text[i : end + 1]), end + 1
        else:
            out, i = out + "$", i + 1
    return out


@given(st.text(alphabet="$()AB", max_size=12))
def test_expansion_agrees_with_a_slow_one(text: str) -> None:
    variables = {"A": "x", "AB": "yy"}
    assert expand(text, variables) == slow_expand(text, variables)


def test_service_variables() -> None:
    services = [
        {"metadata": {"name": "kubernetes", "namespace": "default"},
         "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}},
        {"metadata": {"name": "my-db", "namespace": "n"},
         "spec": {"clusterIP": "fd00::5", "ports": [{"port": 53, "protocol": "UDP"}]}},
        {"metadata": {"name": "headless", "namespace": "n"}, "spec": {"clusterIP": "None"}},
        {"metadata": {"name": "other", "namespace": "m"},
         "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 1}]}},
    ]  # fmt: skip
    got = service_variables(services, "n", links=True)
    assert got["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert got["KUBERNETES_PORT"] == "tcp://10.96.0.1:443"
    assert got["MY_DB_PORT_53_UDP"] == "udp://[fd00::5]:53"
    assert got["MY_DB_PORT_53_UDP_ADDR"] == "fd00::5"
    assert not any(key.startswith(("HEADLESS", "OTHER")) for key in got)
    assert "MY_DB_SERVICE_HOST" not in service_variables(services, "n", links=False)


def test_fields() -> None:
    pod = make_pod(nodeName="node-1")
    assert field_value(pod, "metadata.labels['a']", {}) == "b"
    assert field_value(pod, "metadata.labels", {}) == 'a="b"'
    assert field_value(pod, "spec.nodeName", {}) == "node-1"
    assert field_value(pod, "status.podIP", {"status.podIP": "10.0.0.1"}) == "10.0.0.1"
    with pytest.raises(BadConfiguration, match="no such field"):
        field_value(pod, "spec.nonsense", {})


def test_a_missing_key_is_an_error_unless_it_is_optional() -> None:
    ref = {"name": "m", "key": "k"}

    def container(**more: object) -> Container:
        source = {"configMapKeyRef": {**ref, **more}}
        env = [{"name": "A", "valueFrom": source}]
        return make_pod(containers=[{"name": "c", "image": "i", "env": env}]).spec.containers[0]

    lookup = ObjectLookup({("configmap", "m"): {"data": {"other": "v"}}})
    with pytest.raises(BadConfiguration, match="couldn't find key k in configmap m"):
        container_variables(container(), make_pod(), {}, lookup, {})
    assert container_variables(container(optional=True), make_pod(), {}, lookup, {}) == {}


# Logs


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_what_is_written_is_read_back(chunks: list[bytes]) -> None:
    framer, stored = Framer("stdout"), b""
    for index, chunk in enumerate(chunks):
        stored += framer.feed(chunk, index)
    stored += framer.finish(len(chunks))
    renderer = LineRenderer(LogOptions())
    lines = stored.split(b"\n")[:-1]
    got = b"".join(renderer.render(line) for line in lines)
    said = b"".join(chunks)
    assert got == said + (b"" if said.endswith(b"\n") or not said else b"\n")


def test_a_long_line_is_kept_in_parts_and_read_as_one() -> None:
    framer = Framer("stdout")
    stored = framer.feed(b"x" * 40_000 + b"\n", 0)
    assert [line.split(b" ")[2] for line in stored.splitlines()] == [b"P", b"P", b"F"]
    renderer = LineRenderer(LogOptions(timestamps=True))
    got = b"".join(renderer.render(line) for line in stored.splitlines())
    assert got == b"1970-01-01T00:00:00.000000000Z " + b"x" * 40_000 + b"\n"


def test_a_full_log_gives_way_and_loses_nothing_recent(tmp_path: Path) -> None:
    path = tmp_path / "c" / "0.log"
    log, framer, follower = LogFile(str(path), max_bytes=1000), Framer("stdout"), Follower(path)
    seen = []
    for index in range(60):
        log.write(framer.feed(f"line {index}\n".encode(), index))
        seen += follower.more()
    log.close()
    assert len(list(path.parent.iterdir())) > 1
    assert [line.split(b" ")[-1] for line in seen] == [str(n).encode() for n in range(60)]
    whole = [line.split(b" ")[-1] for line in Follower(path).history()]
    assert whole == [str(n).encode() for n in range(60)]


def test_log_options() -> None:
    options = parse_options({"tailLines": "5", "sinceSeconds": "10", "follow": "true"}, 100.0)
    assert options == LogOptions(follow=True, tail_lines=5, since=90.0)
    with pytest.raises(InvalidValue, match="tailLines"):
        parse_options({"tailLines": "-1"}, 0)
    with pytest.raises(InvalidValue, match="sinceTime"):
        parse_options({"sinceTime": "yesterday"}, 0)


def test_reading_part_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(Framer("stdout").feed(b"%d\n" % n, n * 10**9) for n in range(5)))

    async def read(**options: object) -> bytes:
        wanted = LogOptions(**options)  # type: ignore[arg-type]
        return b"".join([chunk async for chunk in read_log(path, wanted, lambda: False)])

    assert asyncio.run(read(tail_lines=2)) == b"3\n4\n"
    assert asyncio.run(read(since=3.0)) == b"3\n4\n"
    assert asyncio.run(read(limit_bytes=3)) == b"0\n1"
    assert asyncio.run(read(tail_lines=0)) == b""


# Restarts and phases


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True),
     ("Never", 0, False), ("Never", 1, False)],
)  # fmt: skip
def test_who_is_restarted(policy: str, code: int, expected: bool) -> None:
    assert will_restart(tracked(run(code)), policy) is expected


def test_back_off_doubles_to_its_limit_and_starts_anew_after_a_calm_run() -> None:
    one = tracked(run(1))
    waits = []
    for restarts in range(8):
        one.restarts = restarts
        one.backoff = next_backoff(one, 10, 300)
        waits.append(one.backoff)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    one.runs = [run(1, seconds=601)]
    assert next_backoff(one, 10, 300) == 0


def test_an_end_is_not_undone_by_a_late_answer() -> None:
    one = tracked()
    assert one.note(run(3))
    assert not one.note(run(None))
    assert not one.is_running


@pytest.mark.parametrize(
    ("runs", "policy", "expected"),
    [
        ([None], "Always", "Running"), ([0], "Always", "Running"), ([0], "Never", "Succeeded"),
        ([1], "Never", "Failed"), ([0, None], "Never", "Running"), ([0, 1], "Never", "Failed"),
        ([1], "OnFailure", "Running"), ([0, 0], "OnFailure", "Succeeded"),
    ],
)  # fmt: skip
def test_phases(runs: list[int | None], policy: str, expected: str) -> None:
    assert phase([tracked(run(code)) for code in runs], policy) == expected


def test_a_pod_whose_init_container_failed_for_good_has_failed() -> None:
    assert phase([tracked(run(1), is_init=True), tracked()], "Never") == "Failed"
    assert phase([tracked(run(1), is_init=True), tracked()], "Always") == "Pending"


def test_conditions_keep_their_times() -> None:
    pod = make_pod()
    one = tracked(run(None), ready=True, started=True, waiting=("", ""))
    first = pod_status(pod, [one], ["10.0.0.1"], ["192.0.2.1"], 1000.0)
    again = parse_pod(
        {"metadata": {"name": "p", "namespace": "n", "uid": "u"},
         "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": first}
    )  # fmt: skip
    assert pod_status(again, [one], ["10.0.0.1"], ["192.0.2.1"], 2000.0) == first
    one.ready = False
    later = pod_status(again, [one], ["10.0.0.1"], ["192.0.2.1"], 2000.0)
    times = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    assert times["Ready"] != times["Initialized"]


# Probes


def test_a_threshold_needs_results_in_a_row() -> None:
    threshold = Threshold(Probe(success_threshold=2, failure_threshold=3), None)
    results = [True, False, True, True, False, False, True, False, False, False, False]
    changes = [threshold.feed(result) for result in results]
    assert changes == [False] * 3 + [True] + [False] * 5 + [True, False]
    assert threshold.verdict is False


# CNI


def test_the_chain_passes_results_on_and_is_undone_backwards(tmp_path: Path) -> None:
    for name in ("one", "two"):
        plugin = tmp_path / name
        plugin.write_text(
            f'#!/bin/sh\nconfig=$(cat)\necho "{name} $CNI_COMMAND $config" >>{tmp_path}/calls\n'
            f'[ $CNI_COMMAND = DEL ] || echo \'{{"ips": [{{"address": "10.0.0.1/32"}}], '
            f'"by": "{name}"}}\'\n'
        )
        plugin.chmod(0o755)
    network = {"name": "net", "cniVersion": "1.1.0", "plugins": [
        {"type": "one"}, {"type": "two", "key": "v"}]}  # fmt: skip
    place = cni.Attachment("id", "/run/netns/x", "n", "p", "u")

    async def scenario() -> cni.Object:
        result = await cni.add(network, place, [tmp_path])
        await cni.delete(network, place, [tmp_path], result)
        return result

    result = asyncio.run(scenario())
    assert cni.addresses(result) == ["10.0.0.1"]
    calls = [line.split(" ", 2) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [call[:2] for call in calls] == [
        ["one", "ADD"], ["two", "ADD"], ["two", "DEL"], ["one", "DEL"]]  # fmt: skip
    second = json.loads(calls[1][2])
    assert (second["name"], second["cniVersion"], second["key"]) == ("net", "1.1.0", "v")
    assert second["prevResult"]["by"] == "one"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo \'{"code": 7, "msg": "bad", "details": "field x"}\'; exit 1', "bad: field x"),
        ("echo oops >&2; exit 3", "oops"),
        ("exit 3", "exit code 3"),
        ("echo not json", "not json"),
    ],
)
def test_a_plugins_failure_is_told_in_its_words(tmp_path: Path, script: str, said: str) -> None:
    plugin = tmp_path / "p"
    plugin.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    plugin.chmod(0o755)
    network = {"name": "n", "plugins": [{"type": "p"}]}
    place = cni.Attachment("id", "", "n", "p", "u")
    with pytest.raises(cni.CniError, match=f"CNI plugin p ADD: .*{said}"):
        asyncio.run(cni.add(network, place, [tmp_path]))


def test_a_missing_network_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(cni.CniError, match=str(tmp_path)):
        cni.load_network(tmp_path)
    (tmp_path / "a.conflist").write_text("[]")
    with pytest.raises(cni.CniError, match="not a CNI configuration list"):
        cni.load_network(tmp_path)
    with pytest.raises(cni.CniError, match="CNI plugin none is not in"):
        asyncio.run(cni.add({"name": "n", "plugins": [{"type": "none"}]},
                            cni.Attachment("", "", "", "", ""), [tmp_path]))  # fmt: skip


# Configuration and files


def config(tmp_path: Path) -> KubeletConfig:
    site = NodeSite("node-1", None, tmp_path, tmp_path, tmp_path, tmp_path)
    return KubeletConfig(site, tmp_path / "kubeconfig", ("192.0.2.1",))


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(encode_config(config(tmp_path)))
    assert read_config(path) == config(tmp_path)
    path.write_text('{"site": 3}')
    with pytest.raises(ValueError, match=r"kubelet configuration .*\$\.site"):
        read_config(path)


def test_dns_policies(tmp_path: Path) -> None:
    setup = config(tmp_path)
    assert "search n.svc.cluster.local" in resolv_conf(make_pod(), setup)
    assert "1.1.1.1" in resolv_conf(make_pod(dnsPolicy="Default"), setup)
    assert "1.1.1.1" in resolv_conf(make_pod(hostNetwork=True), setup)
    own = {"nameservers": ["192.0.2.53"], "searches": ["x"], "options": [{"name": "edns0"}]}
    text = resolv_conf(make_pod(dnsPolicy="None", dnsConfig=own), setup)
    assert text == "nameserver 192.0.2.53\nsearch x\noptions edns0\n"
