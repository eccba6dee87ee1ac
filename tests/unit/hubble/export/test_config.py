"""Descriptions of logs: what is understood, and what is said about the rest."""

from datetime import UTC, datetime

import pytest

from cilia.hubble.export.config import (
    ExportConfigError,
    ExportLog,
    duration_s,
    parse_filters,
    parse_flow_logs,
)

WHOLE = b"""
flowLogs:
- name: drops
  filePath: /var/log/drops.log
  fieldMask: [source.namespace, verdict]
  includeFilters:
  - verdict: [DROPPED]
    source_pod: ["kube-system/"]
  excludeFilters:
  - event_type: [{type: 5}]
  fileMaxSizeMb: 1
  fileMaxBackups: 2
  fileCompress: true
  end: 2031-01-02T03:04:05Z
- name: counts
  filePath: stdout
  fieldAggregate: [source.namespace]
  aggregationInterval: 1m30s
"""


def test_all_fields() -> None:
    drops, counts = parse_flow_logs(WHOLE)
    assert drops == ExportLog(
        name="drops",
        file_path="/var/log/drops.log",
        field_mask=("source.namespace", "verdict"),
        include_filters=({"verdict": ["DROPPED"], "source_pod": ["kube-system/"]},),
        exclude_filters=({"event_type": [{"type": 5}]},),
        file_max_size_mb=1,
        file_max_backups=2,
        file_compress=True,
        end=datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    assert not drops.is_over(datetime(2031, 1, 2, 3, 4, 4, tzinfo=UTC))
    assert drops.is_over(datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert counts.interval_s == 90
    assert drops.interval_s == 0


@pytest.mark.parametrize("text", [b"", b"{}", b"flowLogs: []"])
def test_no_logs(text: bytes) -> None:
    assert parse_flow_logs(text) == ()


ONE = b"flowLogs: [{name: a, filePath: /a%s}]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"flowLogs: {", "YAML|flow|parsing"),
        (b"flowLogs: [{name: a}]", "filePath"),
        (b"flowLogs: [{name: '', filePath: /a}]", "length"),
        (ONE % b", frob: 1", "frob"),
        (ONE % b", fileMaxSizeMb: -1", "fileMaxSizeMb"),
        (ONE % b", fieldMask: [nope]", "flow log 'a': fieldMask 'nope': flow.Flow has no such"),
        (ONE % b", includeFilters: [{nope: 1}]", "flow log 'a': filter"),
        (ONE % b", aggregationInterval: 3", "aggregationInterval"),
        (ONE % b", fieldAggregate: [verdict], aggregationInterval: 3d", "no duration"),
        (ONE % b", fieldAggregate: [verdict]", "together"),
        (ONE % b", aggregationInterval: 3s", "together"),
        (ONE % b", end: 2031-01-02T03:04:05", "time zone"),
        (b"flowLogs: [{name: a, filePath: a.log}]", "not absolute"),
        (b"flowLogs: [{name: a, filePath: /a}, {name: a, filePath: /b}]", "name 'a'"),
        (b"flowLogs: [{name: a, filePath: /a}, {name: b, filePath: /a}]", "filePath '/a'"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, says: str) -> None:
    with pytest.raises(ExportConfigError, match=says):
        parse_flow_logs(text)


def test_filters_of_a_setting() -> None:
    assert parse_filters("") == ()
    assert parse_filters(' {"verdict":["DROPPED"]} {"source_pod":["a/"]}\n') == (
        {"verdict": ["DROPPED"]},
        {"source_pod": ["a/"]},
    )
    for wrong in ("[]", "{} x", '{"a":'):
        with pytest.raises(ExportConfigError):
            parse_filters(wrong)


def test_durations() -> None:
    assert [duration_s(text) for text in ("30s", "500ms", "1h1m", "1.5s")] == [30, 0.5, 3660, 1.5]
    for wrong in ("", "3", "3d", "s", "-1s", "1s "):
        with pytest.raises(ValueError, match="no duration"):
            duration_s(wrong)
