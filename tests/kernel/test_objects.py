"""Objects: configuration, loading, refusals; packets through programs."""

import struct
from pathlib import Path

import numpy as np
import pytest

from cilia.kernel.errors import NotFoundError, VerifierError
from cilia.kernel.maps import Map
from cilia.kernel.objects import BpfObject, Program
from cilia.kernel.testrun import test_run as run
from cilia.model.errors import KernelError

FRAME = bytes(60)


def test_a_packet_meets_the_configuration(probe: BpfObject) -> None:
    probe.set_global("settings", struct.pack("<II", 2, 77))
    probe.load("judge")
    result = run(probe.programs["judge"], FRAME, mark=3)
    assert (result.verdict, result.packet[0], len(result.packet)) == (2, 7, 60)
    assert result.skb["mark"] == 77


def test_a_negative_verdict_stays_negative(probe: BpfObject) -> None:
    probe.set_global("settings", struct.pack("<iI", -1, 0))
    probe.load("judge")
    assert run(probe.programs["judge"], FRAME).verdict == -1


def test_a_refused_program_says_why_in_one_line(probe: BpfObject) -> None:
    with pytest.raises(VerifierError) as caught:
        probe.load()
    assert caught.value.program == "refused"
    assert "offset is outside of the packet" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(caught.value.log.splitlines()) > 3


def test_the_kernel_refuses_a_frame_without_a_header(probe: BpfObject) -> None:
    probe.load("judge")
    with pytest.raises(KernelError, match="test-run program judge on 3 bytes: Invalid argument"):
        run(probe.programs["judge"], b"abc")


def test_a_setting_of_the_wrong_size_is_refused(probe: BpfObject) -> None:
    with pytest.raises(ValueError, match="settings has 8 bytes, not 3"):
        probe.set_global("settings", b"abc")
    with pytest.raises(KeyError, match="nothing"):
        probe.set_global("nothing", b"")


def test_a_missing_object_names_the_remedy() -> None:
    with pytest.raises(NotFoundError, match="make -C bpf"):
        BpfObject(Path("/nowhere/none.bpf.o"))


def test_what_is_no_object_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bpf.o"
    broken.write_bytes(b"\x7fELF\x02\x01" + bytes(100))
    with pytest.raises(ValueError, match=r"broken section table|no section"):
        BpfObject(broken)


def test_programs_and_maps_outlive_the_object_through_pins(probe_path: Path, pins: Path) -> None:
    with BpfObject(probe_path) as one:
        one.load("emit")
        one.programs["emit"].pin(pins / "emit")
        one.maps["counter"].pin(pins / "counter")
        number = one.programs["emit"].facts().id
    opened = Program.open(pins / "emit")
    assert opened.facts().id == number
    assert opened.facts().verified_instructions > 10
    run(opened, FRAME)
    assert int(Map.open(pins / "counter", np.dtype("<u4"), np.dtype("<u8")).lookup(0)) == 1


def test_two_objects_share_a_map(probe_path: Path, pins: Path) -> None:
    with BpfObject(probe_path) as first, BpfObject(probe_path) as second:
        first.load("emit")
        second.reuse("counter", first.maps["counter"])
        second.load("emit")
        run(first.programs["emit"], FRAME)
        run(second.programs["emit"], FRAME)
        assert int(second.maps["counter"].lookup(0)) == 2
        assert second.maps["counter"].id == first.maps["counter"].id


def test_a_map_of_another_shape_cannot_be_shared(probe_path: Path) -> None:
    with BpfObject(probe_path) as first, BpfObject(probe_path) as second:
        first.load("emit")
        with pytest.raises(KernelError, match="reuse map rows"):
            second.reuse("rows", first.maps["counter"])


def test_a_map_can_be_given_another_size(probe: BpfObject) -> None:
    probe.resize("rows", 5)
    probe.load("emit")
    assert probe.maps["rows"].max_entries == 5
