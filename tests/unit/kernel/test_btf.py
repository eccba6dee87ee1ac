"""The BTF parser against bpftool's reading of the same object, and against garbage."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.kernel.btf import Btf
from cilia.kernel.elf import section

OBJECT = Path(__file__).parents[3] / "src/cilia/datapath/objects/layout.bpf.o"
RAW = section(OBJECT, ".BTF")


@pytest.fixture(scope="module")
def types() -> dict[int, Any]:
    command = ["bpftool", "-j", "btf", "dump", "file", str(OBJECT)]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    return {one["id"]: one for one in json.loads(output)["types"]}


def size_of(types: dict[int, Any], number: int) -> int:
    one = types[number]
    if one["kind"] == "ARRAY":
        return int(one["nr_elems"]) * size_of(types, one["type_id"])
    return int(one["size"]) if "size" in one else size_of(types, one["type_id"])


def network_order(types: dict[int, Any], number: int) -> bool:
    while types[number]["kind"] in ("TYPEDEF", "CONST", "VOLATILE", "ARRAY"):
        if types[number].get("name", "").startswith("__be"):
            return True
        number = types[number]["type_id"]
    return False


def test_structs_are_what_bpftool_reads(types: dict[int, Any]) -> None:
    btf = Btf(RAW)
    structs = [one for one in types.values() if one["kind"] == "STRUCT" and one["name"] != "(anon)"]
    shared = [one for one in structs if not one["name"].startswith("event_ring")]
    assert len(shared) > 15
    for one in shared:
        dtype = btf.struct(one["name"])
        assert dtype.itemsize == one["size"]
        assert dtype.names == tuple(member["name"] for member in one["members"])
        for member in one["members"]:
            layout, offset = dtype.fields[member["name"]][:2]  # type: ignore[index]
            assert offset * 8 == member["bits_offset"]
            assert layout.itemsize == size_of(types, member["type_id"])
            base = layout.base
            if base.itemsize > 1 and base.kind == "u":
                big = base.newbyteorder("=") != base
                assert big == network_order(types, member["type_id"]), (one["name"], member)


def test_enums_are_what_bpftool_reads(types: dict[int, Any]) -> None:
    btf = Btf(RAW)
    enums = [one for one in types.values() if one["kind"] == "ENUM"]
    for one in enums:
        values = {value["name"]: value["val"] for value in one["values"]}
        assert values.items() <= btf.constants().items()
        if one["name"] != "(anon)":
            assert btf.enum(one["name"]) == values
    assert btf.enum("drop_reason")["DROP_EP_NOT_READY"] == 203


def test_units_sit_on_the_right_member(types: dict[int, Any]) -> None:
    wanted: dict[str, dict[str, str]] = {}
    for tag in types.values():
        if tag["kind"] == "DECL_TAG" and types[tag["type_id"]]["kind"] == "STRUCT":
            owner = types[tag["type_id"]]
            field = owner["members"][tag["component_idx"]]["name"]
            wanted.setdefault(owner["name"], {})[field] = tag["name"].removeprefix("unit:")
    assert wanted["conntrack_entry"]["expires_s"] == "s"
    for name, units in wanted.items():
        assert Btf(RAW).units(name) == units


def test_maps_carry_the_types_of_their_keys_and_values() -> None:
    btf = Btf(RAW)
    key, value = btf.map_types("endpoint_addr")
    assert key == np.dtype("V16")
    assert value == btf.struct("endpoint")
    assert btf.map_types("event_rings") == (np.dtype("<u4"), None)
    assert {"conntrack", "policy", "ipcache", "event_stats"} <= set(btf.maps())


def test_what_is_missing_is_named() -> None:
    btf = Btf(RAW)
    with pytest.raises(KeyError, match="no struct nothing"):
        btf.struct("nothing")
    with pytest.raises(KeyError, match="no enum nothing"):
        btf.enum("nothing")
    with pytest.raises(KeyError, match="no map nothing"):
        btf.map_types("nothing")
    with pytest.raises(KeyError, match="no variable nothing"):
        btf.variable(".rodata", "nothing")


@given(st.binary(max_size=200))
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"not BTF|broken BTF"):
        Btf(raw)


@given(st.integers(24, len(RAW) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_section_is_read_or_refused_but_never_more(at: int, damage: bytes) -> None:
    raw = RAW[:at] + damage + RAW[at + len(damage) :]
    try:
        btf = Btf(raw)
        btf.constants()
        btf.struct("conntrack_entry")
    except (ValueError, KeyError, IndexError, struct.error, RecursionError):
        pass


@given(st.integers(0, 400))
def test_a_cut_object_is_refused(length: int) -> None:
    raw = RAW[:length]
    if length < len(RAW):
        with pytest.raises(ValueError, match=r"not BTF|broken BTF"):
            Btf(raw)
