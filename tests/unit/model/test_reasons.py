"""Drop reasons and trace points have the kernel objects' numbers."""

from importlib.resources import files
from pathlib import Path

import pytest

from cilia.kernel.btf import Btf
from cilia.model.reasons import (
    DROP_REASONS,
    POLICY_MATCHES,
    TRACE_POINT_PROTO,
    TRACE_POINTS,
    TRACE_REASON_PROTO,
    TRACE_REASONS,
    drop_reason,
)


@pytest.fixture(scope="module")
def btf():
    return Btf.from_object(Path(str(files("cilia.datapath") / "objects" / "layout.bpf.o")))


def test_every_reason_of_the_programs_has_its_words(btf):
    for name, number in btf.enum("drop_reason").items():
        reason = DROP_REASONS[number]
        assert name in (f"DROP_{reason.name}", reason.name)
        assert reason.is_drop
        assert reason.text


def test_every_trace_point_of_the_programs_has_its_words(btf):
    for name, number in btf.enum("trace_point").items():
        assert TRACE_POINTS[number] == name.removeprefix("TRACE_").lower().replace("_", "-")
        assert number in TRACE_POINT_PROTO


def test_every_trace_reason_of_the_programs_has_its_words(btf):
    for name, number in btf.enum("trace_reason").items():
        assert TRACE_REASONS[number] == name.removeprefix("TRACE_REASON_").lower()
        assert number in TRACE_REASON_PROTO


def test_every_match_of_the_programs_has_its_words(btf):
    assert set(btf.enum("event_match").values()) == set(POLICY_MATCHES)


def test_a_reason_has_words_even_if_it_is_not_known():
    assert drop_reason(133).text == "Policy denied"
    assert drop_reason(254).text == "254"
