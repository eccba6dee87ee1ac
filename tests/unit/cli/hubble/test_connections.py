"""Connections and totals as tables."""

from typing import Any

from cilia.cli.commands.hubble_connections import (
    connection_rows,
    end_text,
    party_text,
    size_text,
    total_rows,
)
from cilia.cli.hubble.account import connections_text, events_text

POD: dict[str, Any] = {
    "namespace": "default", "pod": "xwing", "identity": 300, "labels": ["k8s:org=alliance"],
    "ip": "10.0.1.5", "port": 40000,
}  # fmt: skip
WORLD = POD | {
    "namespace": "",
    "pod": "",
    "labels": ["reserved:world"],
    "ip": "1.1.1.1",
    "port": 443,
}
NOBODY = POD | {"namespace": "", "pod": "", "labels": [], "ip": "10.9.9.9", "port": 0}


def test_ends_have_their_best_name() -> None:
    assert end_text(POD) == "default/xwing:40000"
    assert end_text(WORLD) == "world:443"
    assert end_text(NOBODY) == "10.9.9.9"
    assert party_text(WORLD | {"labels": ["cidr:1.0.0.0/8", "reserved:world"]}) == "world"
    assert party_text(NOBODY) == "-"


def test_sizes() -> None:
    assert size_text(0) == "0 B"
    assert size_text(10 * 1024**2) == "10.0 MiB"
    assert size_text(2**70) == "1024.0 EiB"


def test_a_connection_in_a_row() -> None:
    each = {
        "source": POD, "destination": WORLD, "protocol": "TCP", "packets": [3, 2000],
        "bytes": [300, 4096], "first": 100.0, "last": 102.5, "policies": ["default/rule1"],
        "state": "closed",
    }  # fmt: skip
    assert connection_rows([each], 110.0) == [
        [
            "default/xwing:40000", "world:443", "TCP", "300 B", "4.0 KiB", "3", "2,000", "2.5s",
            "8s ago", "closed", "default/rule1",
        ]
    ]  # fmt: skip


def test_a_total_in_a_row() -> None:
    each = {
        "source": POD, "destination": NOBODY, "packets": [3, 2], "bytes": [300, 0],
        "connections": 1500,
    }  # fmt: skip
    assert total_rows([each]) == [["default/xwing", "-", "300 B", "0 B", "3", "2", "1,500"]]


def test_the_account_in_words() -> None:
    account: dict[str, Any] = {
        "events": {"sent": 1500, "seen": 1400, "waiting": 0, "lost": 100},
        "slow-readers": {"flows": 0, "monitor": 0},
        "connections": {
            "connections": 3, "ended": 1200, "packets": 990, "counted_packets": 1000,
            "missed_packets": 0,
        },
    }  # fmt: skip
    assert events_text(account) == "1,500 sent, 1,400 seen, 100 lost"
    assert connections_text(account) == "3 live, 1,200 ended, 990 packets harvested"
    account["events"]["waiting"] = account["slow-readers"]["flows"] = 7
    account["connections"]["missed_packets"] = 10
    assert events_text(account).endswith(", 7 waiting, 7 missed by slow readers")
    assert connections_text(account).endswith(", 10 missed (1%)")
