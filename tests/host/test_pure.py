"""The kernel side's arithmetic, built by the host's compiler, against plain Python."""

import ipaddress
import subprocess
from pathlib import Path
from typing import Any

import cffi
import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
BPF = HERE.parents[1] / "bpf"
WORD = st.integers(0, 0xFFFF)


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The functions of pure.c, with the undefined-behaviour sanitizer in trap mode."""
    built = tmp_path_factory.mktemp("host") / "pure.so"
    flags = ["-O1", "-std=gnu17", "-fsanitize=undefined", "-fsanitize-trap=all", "-Wall", "-Werror"]
    quiet = ["-Wno-unused-function", "-Wno-unused-variable"]
    source = [f"-I{BPF}", "-shared", "-fPIC", "-o", str(built), str(HERE / "pure.c")]
    subprocess.run(["clang-19", *flags, *quiet, *source], check=True)
    ffi = cffi.FFI()
    ffi.cdef(
        """
        uint16_t pure_checksum_fold(uint32_t sum);
        uint16_t pure_checksum_replace(uint16_t checksum, uint16_t old, uint16_t new);
        _Bool pure_tuple_source_is_low(const void *tuple);
        _Bool pure_address_is_v4(const void *addr);
        void pure_address_from_v4(uint32_t v4, void *addr);
        """
    )
    return ffi.dlopen(str(built))


def checksum(words: list[int]) -> int:
    """RFC 1071, with a carry at a time."""
    total = 0
    for word in words:
        total += word
        if total > 0xFFFF:
            total -= 0xFFFF
    return total ^ 0xFFFF


@given(words=st.lists(WORD, min_size=1, max_size=100))
def test_a_folded_sum_is_the_checksum(pure: Any, words: list[int]) -> None:
    assert pure.pure_checksum_fold(sum(words)) == checksum(words)


@given(words=st.lists(WORD, min_size=2, max_size=30), new=WORD, place=st.integers(0, 29))
def test_an_updated_checksum_verifies_like_a_new_one(
    pure: Any, words: list[int], new: int, place: int
) -> None:
    place %= len(words)
    before = checksum(words)

    updated = pure.pure_checksum_replace(before, words[place], new)

    changed = [*words[:place], new, *words[place + 1 :]]
    assert checksum([*changed, updated]) in (0, 0xFFFF)


address = st.one_of(
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
    st.integers(0, 3).map(lambda low: ipaddress.IPv6Address(f"fd00::{low}")),
)


def packed(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """16 bytes, IPv4 mapped."""
    return one.packed if one.version == 6 else bytes(10) + b"\xff\xff" + one.packed


@given(source=address, destination=address, ports=st.tuples(WORD, WORD), protocol=st.just(6))
def test_the_order_is_that_of_bytes_then_ports(
    pure: Any,
    source: ipaddress.IPv6Address,
    destination: ipaddress.IPv6Address,
    ports: tuple[int, int],
    protocol: int,
) -> None:
    low, high = packed(source), packed(destination)
    raw = (
        low
        + high
        + b"".join(port.to_bytes(2, "big") for port in ports)
        + bytes([protocol, 0, 0, 0])
    )

    expected = (low, ports[0]) <= (high, ports[1])

    assert pure.pure_tuple_source_is_low(raw) == expected


@given(source=address, destination=address, ports=st.tuples(WORD, WORD))
def test_exactly_one_side_is_low(
    pure: Any,
    source: ipaddress.IPv6Address,
    destination: ipaddress.IPv6Address,
    ports: tuple[int, int],
) -> None:
    def is_low(one: bytes, other: bytes, mine: int, yours: int) -> bool:
        port_bytes = mine.to_bytes(2, "big") + yours.to_bytes(2, "big")
        return bool(pure.pure_tuple_source_is_low(one + other + port_bytes + bytes(4)))

    low, high = packed(source), packed(destination)
    there, back = is_low(low, high, *ports), is_low(high, low, ports[1], ports[0])

    assert there != back or ((low, ports[0]) == (high, ports[1]) and there)


@given(one=address)
def test_only_mapped_addresses_are_ipv4(pure: Any, one: ipaddress.IPv6Address) -> None:
    raw = packed(one)

    assert pure.pure_address_is_v4(raw) == (raw[:12] == bytes(10) + b"\xff\xff")


@given(number=st.integers(0, 2**32 - 1))
def test_ipv4_is_mapped(pure: Any, number: int) -> None:
    raw = bytearray(16)

    pure.pure_address_from_v4(int.from_bytes(number.to_bytes(4, "big"), "little"), _buffer(raw))

    assert bytes(raw) == packed(ipaddress.IPv4Address(number))


def _buffer(raw: bytearray) -> Any:
    return cffi.FFI().from_buffer(raw)
