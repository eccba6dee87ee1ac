"""One pod in audit mode: what its policy would stop passes, is reported, and why.

Each question is asked over IPv4 and over IPv6, and both must give one answer.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cilia.kernel import netns
from lab.bare_lab import BareLab, bare_lab
from lab.running_lab import wait_for
from lab.traffic import Pod

PORT, DENIED = 7070, 7071
WAIT_S = 0.5
NOTE = 'see the runbook: "audit"'
POLICY = {
    "endpointSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "friend"}}]}],
    "ingressDeny": [{"fromEntities": ["all"], "toPorts": [{"ports": [{"port": str(DENIED)}]}]}],
    "log": {"value": NOTE},
}
SERVER = "pod-name:default:server"


@pytest.fixture(scope="module")
def own(kubectl: str) -> Iterator[BareLab]:
    """A lab of this module's own."""
    with bare_lab("u", kubectl) as lab:
        yield lab


@pytest.fixture(scope="module")
def cast(own: BareLab) -> Iterator[tuple[Pod, Pod]]:
    """A server that listens, and a stranger whom its policy keeps out."""
    server, stranger = (own.connect(name, {"app": name}) for name in ("server", "stranger"))
    with contextlib.ExitStack() as stack:
        for port in (PORT, DENIED):
            one = netns.open_socket(server.netns, socket.AF_INET6, socket.SOCK_STREAM)
            stack.enter_context(one)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            one.bind(("::", port))
            one.listen()
        own.apply("keep-out", POLICY)
        wait_for("the policy is enforced", lambda: own.enforces("server", "ingress"))
        yield server, stranger


@pytest.fixture(autouse=True)
def out_of_audit(own: BareLab, cast: tuple[Pod, Pod]) -> None:
    """Each test begins with the policy in force, whatever the one before it chose."""
    choose(own, "Disabled")
    wait_for("the policy is in force", lambda: own.enforces("server", "ingress"))


def opened(server: Pod, stranger: Pod, port: int = PORT) -> bool:
    """Whether the stranger gets a connection."""
    found = set()
    for family, address in ((socket.AF_INET, server.v4), (socket.AF_INET6, server.v6)):
        with netns.open_socket(stranger.netns, family, socket.SOCK_STREAM) as one:
            one.settimeout(WAIT_S)
            found.add(one.connect_ex((address, port)) == 0)
    assert len(found) == 1, "both families get one answer"
    return found == {True}


def choose(lab: BareLab, value: str) -> str:
    done = lab.cilia("endpoint", "config", SERVER, f"PolicyAuditMode={value}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def option(lab: BareLab) -> str:
    _, found = lab.ask("GET", f"/v1/endpoint/{SERVER}/config")
    return str(found["realized"]["options"]["PolicyAuditMode"])


@contextmanager
def monitored(lab: BareLab, *words: str) -> Iterator[list[str]]:
    """The lines of a monitor of verdicts, as they come."""
    lines: list[str] = []
    with lab.start("monitor", "--type", "policy-verdict", *words) as monitor:
        reader = threading.Thread(target=lambda: lines.extend(monitor.stdout or ()), daemon=True)
        reader.start()
        try:
            yield lines
        finally:
            monitor.terminate()
            reader.join()


def test_what_policy_would_stop_passes_and_is_reported(own: BareLab, cast: tuple[Pod, Pod]) -> None:
    server, stranger = cast
    assert not opened(server, stranger)
    assert choose(own, "enable") == f"{'PolicyAuditMode':<34}: Enabled\n"
    wait_for("it is in the kernel", lambda: own.enforces("server", "audit-ingress"))
    events: list[dict[str, Any]] = []
    with monitored(own, "-o", "json") as objects, monitored(own) as lines:

        def is_told() -> bool:
            # Asked again and again: a monitor may begin to listen after the first.
            assert opened(server, stranger)
            return f"log {json.dumps(NOTE)}" in "".join(tuple(lines))

        def audited(port: int) -> dict[str, Any]:
            assert opened(server, stranger, port)
            events[:] = [json.loads(line) for line in tuple(objects)]
            return next((e for e in events if e["destination"]["port"] == port), {})

        wait_for("the verdict is shown", lambda: bool(audited(PORT) and audited(DENIED)))
        wait_for("so it is as text", is_told)
    closed, denied = audited(PORT), audited(DENIED)
    assert closed["action"] == denied["action"] == "audit"
    assert closed["because"] == "closed by"
    assert denied["because"] == "denied by"
    for event in (closed, denied):
        (rule,) = event["policies"]
        assert (rule["name"], rule["log"]) == ("keep-out", NOTE)
    assert denied["policies"][0]["path"] == "spec.ingressDeny[0]"
    assert "Disabled (Audit)" in own.cilia("endpoint", "list").stdout
    shown = own.cilia("hubble", "observe", "--verdict", "AUDIT", "--to-port", str(PORT))
    assert shown.stdout.splitlines(), shown.stderr
    assert all("AUDIT" in line for line in shown.stdout.splitlines()), shown.stdout


def test_the_choice_outlives_the_agent_whichever_it_is(own: BareLab, cast: tuple[Pod, Pod]) -> None:
    server, stranger = cast
    choose(own, "Enabled")
    wait_for("it is in the kernel", lambda: own.enforces("server", "audit-ingress"))
    with own.without_agent():
        assert opened(server, stranger)
    wait_for("it is well", own.is_well)
    assert option(own) == "Enabled"
    assert own.enforces("server", "audit-ingress")
    choose(own, "Disabled")
    wait_for("it is in the kernel", lambda: own.enforces("server", "ingress"))
    assert not opened(server, stranger)
    with own.without_agent():
        assert not opened(server, stranger)
    wait_for("it is well", own.is_well)
    assert option(own) == "Disabled"
    assert own.enforces("server", "ingress")


def test_what_its_own_policy_would_not_let_out_passes_as_well(
    own: BareLab, cast: tuple[Pod, Pod]
) -> None:
    server, _ = cast
    sender = own.connect("sender", {"app": "friend"})
    who = "pod-name:default:sender"
    nowhere = {"endpointSelector": {"matchLabels": {"app": "friend"}}, "egress": [{}]}
    nowhere["egressDeny"] = [{"toEndpoints": [{"matchLabels": {"app": "server"}}]}]
    assert opened(server, sender)
    own.apply("keep-in", nowhere)
    try:
        wait_for("the policy is enforced", lambda: own.enforces("sender", "egress"))
        assert not opened(server, sender)
        assert own.cilia("endpoint", "config", who, "PolicyAuditMode=Enabled").returncode == 0
        wait_for("it is in the kernel", lambda: own.enforces("sender", "audit-egress"))
        assert opened(server, sender)
    finally:
        own.remove_policy("keep-in")


def test_a_wrong_option_is_named(own: BareLab, cast: tuple[Pod, Pod]) -> None:
    for words, told in (
        ("PolicyAuditMode=perhaps", "write Enabled or Disabled"),
        ("Audit=Enabled", "there is none; write PolicyAuditMode"),
        ("PolicyAuditMode", "has no value"),
    ):
        done = own.cilia("endpoint", "config", SERVER, words)
        assert done.returncode != 0
        assert told in done.stderr
    assert option(own) == "Disabled"
