"""Filter flags to FlowFilters: every flag by a table, and how they combine."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf.json_format import MessageToDict

from cilia.cli.hubble.connection import flow_filters
from cilia.cli.hubble.filters import filter_lists
from cilia.cli.hubble.flags import FLAGS
from cilia.cli.program import cilia

TABLE = [
    line.split("\t")
    for line in Path(__file__).with_name("filters.tsv").read_text().splitlines()
    if not line.startswith("#")
]
"""Flag, value, and the filters it makes."""


def observe(*words: str) -> tuple[list[object], list[object]]:
    """(allow, deny) lists that `observe --print-raw-filters` prints."""
    done = CliRunner().invoke(cilia, ["hubble", "observe", "--print-raw-filters", *words])
    assert done.exit_code == 0, done.output
    lists: dict[str, list[object]] = {"allowlist:": [], "denylist:": []}
    current: list[object] = []
    for line in done.output.splitlines():
        if line in lists:
            current = lists[line]
        elif line.startswith("    - "):
            current.append(json.loads(line.removeprefix("    - '")[:-1]))
    return lists["allowlist:"], lists["denylist:"]


def refusal(*words: str) -> str:
    done = CliRunner().invoke(cilia, ["hubble", "observe", "--print-raw-filters", *words])
    assert done.exit_code == 2, done.output
    return done.output


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "=".join(row[:2]))
def test_each_flag_makes_exactly_its_filters(row: list[str]) -> None:
    flag, value, *filters = row
    wanted = [json.loads(one) for one in filters]
    words = [flag, value] if value else [flag]
    assert observe(*words) == (wanted, [])
    assert observe("--not", *words) == ([], wanted)
    made = [MessageToDict(one, preserving_proto_field_name=True) for one in flow_filters(wanted)]
    assert [set(one) for one in made] == [set(one) for one in wanted]


def test_every_flag_is_in_the_table() -> None:
    assert {row[0].removeprefix("--") for row in TABLE} == set(FLAGS)


def test_short_flags() -> None:
    for short, long, value in (("n", "namespace", "a"), ("l", "label", "a=b"), ("t", "type", "l7")):
        assert observe(f"-{short}", value) == observe(f"--{long}", value)
    for short, long in (("4", "ipv4"), ("6", "ipv6"), ("A", "all-namespaces")):
        assert observe(f"-{short}") == observe(f"--{long}")


def test_the_same_flag_means_either_and_different_flags_all() -> None:
    allow, deny = observe("--verdict", "DROPPED", "--verdict", "AUDIT", "--protocol", "tcp")
    assert allow == [{"verdict": ["DROPPED", "AUDIT"], "protocol": ["tcp"]}]
    assert deny == []


def test_flags_of_either_side_stay_on_one_side() -> None:
    assert observe("--pod", "a", "--port", "80", "--verdict", "DROPPED")[0] == [
        {"source_pod": ["a"], "source_port": ["80"], "verdict": ["DROPPED"]},
        {"destination_pod": ["a"], "destination_port": ["80"], "verdict": ["DROPPED"]},
    ]


def test_not_is_about_the_next_flag_only() -> None:
    allow, deny = observe("--from-pod", "a", "--not", "--to-port", "53", "--protocol", "udp")
    assert allow == [{"source_pod": ["a"], "protocol": ["udp"]}]
    assert deny == [{"destination_port": ["53"]}]


@pytest.mark.parametrize(
    ("words", "filters"),
    [
        (
            ("-n", "a", "--pod", "x"),
            [{"source_pod": ["a/x"]}, {"destination_pod": ["a/x"]}],
        ),
        (("-A", "--pod", "x"), [{"source_pod": ["/x"]}, {"destination_pod": ["/x"]}]),
        (
            ("-n", "a", "--service", "s"),
            [{"source_service": ["a/s"]}, {"destination_service": ["a/s"]}],
        ),
        (("--from-namespace", "a", "--from-pod", "b/x"), [{"source_pod": ["b/x"]}]),
        (
            ("--from-namespace", "a", "--to-namespace", "b"),
            [{"source_pod": ["a/"], "destination_pod": ["b/"]}],
        ),
        (
            ("--to-namespace", "a", "--to-namespace", "b", "--to-pod", "x"),
            [{"destination_pod": ["a/x", "b/x"]}],
        ),
    ],
)
def test_namespaces_join_the_names(words: tuple[str, ...], filters: list[object]) -> None:
    assert observe(*words)[0] == filters


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--not",), "there is none"),
        (("--not", "--not", "--pod", "a"), "once"),
        (("--from-pod", "a", "--pod", "b"), "--from-pod and --pod exclude each other"),
        (("--ip", "1.1.1.1", "-n", "b"), "--ip and --namespace exclude"),
        (("--to-service", "a", "-A"), "--to-service and --all-namespaces exclude"),
        (("--label", "a", "--to-label", "b"), "--label and --to-label exclude"),
        (("--encrypted", "--unencrypted"), "--encrypted and --unencrypted exclude"),
        (("--verdict", "dropped"), "no verdict 'dropped'"),
        (("--drop-reason-desc", "nonsense"), "no reason 'nonsense'"),
        (("--type", "frob"), "no event type 'frob'"),
        (("--type", "trace:frob"), "no kind 'frob' of trace"),
        (("--identity", "frob"), "no identity 'frob'"),
        (("--tcp-flags", "syn,frob"), "no TCP flag 'FROB'"),
        (("--http-header", "frob"), "key:value"),
        (("--last", "1", "--first", "2"), "--first and --last exclude"),
        (("--last", "1", "--all"), "--last and --all exclude"),
        (("--first", "1", "--follow"), "--first and --follow exclude"),
        (("-f", "-o", "table"), "waits for the end"),
        (("--field-mask", "time"), "is for -o json"),
        (("--since", "yesterday"), "is not a time"),
        (("agent-events", "--pod", "a"), "are for flows"),
    ],
)
def test_refused(words: tuple[str, ...], told: str) -> None:
    assert told in " ".join(refusal(*words).split())


def test_one_list_may_have_what_excludes_a_flag_of_the_other() -> None:
    assert observe("--from-pod", "a", "--not", "--pod", "b")[0] == [{"source_pod": ["a"]}]


def test_raw_filters_are_taken_as_they_are() -> None:
    raw = '{"source_pod":["a"]} {"verdict":["DROPPED"]}'
    assert observe("--allowlist", raw, "--denylist", '{"uuid":["x"]}') == (
        [{"source_pod": ["a"]}, {"verdict": ["DROPPED"]}],
        [{"uuid": ["x"]}],
    )


def test_no_flags_no_filters() -> None:
    assert filter_lists([]) == ([], [])
