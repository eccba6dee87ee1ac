"""SPDY/3.1 framing."""

import contextlib
import zlib

from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.apiserver.spdy import (
    DICTIONARY,
    Data,
    Decoder,
    Encoder,
    Opened,
    Ping,
    Reset,
    SpdyError,
)


def test_the_dictionary_is_the_drafts() -> None:
    # The checksum that zlib streams of every SPDY/3 peer name.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@given(
    headers=st.dictionaries(st.text("abc-", min_size=1), st.text(max_size=20), max_size=4),
    payload=st.binary(max_size=100),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_frames_survive_any_cutting(
    headers: dict[str, str], payload: bytes, cuts: list[int]
) -> None:
    encoder, decoder = Encoder(), Decoder()
    raw = b"".join(
        [
            encoder.open(1, headers),
            encoder.reply(1),
            encoder.data(1, payload),
            encoder.open(3, {"streamtype": "data"}),
            encoder.ping(7),
            encoder.data(3, b"", end=True),
            encoder.reset(1),
            encoder.away(),
        ]
    )
    frames, at, turn = [], 0, 0
    while at < len(raw):
        size = cuts[turn % len(cuts)]
        frames += decoder.feed(raw[at : at + size])
        at, turn = at + size, turn + 1

    assert frames[:-1] == [
        Opened(1, headers, False),
        Data(1, payload, False),
        Opened(3, {"streamtype": "data"}, False),
        Ping(7),
        Data(3, b"", True),
        Reset(1),
    ]


def test_large_payloads_are_cut() -> None:
    decoder = Decoder()
    payload = bytes(range(256)) * 1000
    frames = decoder.feed(Encoder().data(5, payload, end=True))

    assert b"".join(frame.payload for frame in frames if isinstance(frame, Data)) == payload
    assert [frame.ended for frame in frames if isinstance(frame, Data)] == [False] * 7 + [True]


@given(raw=st.binary(max_size=64))
def test_nonsense_is_refused_or_waits_for_more(raw: bytes) -> None:
    decoder = Decoder()
    # SpdyError is the only way to refuse; anything else fails the test.
    with contextlib.suppress(SpdyError):
        decoder.feed(b"\x80\x03" + raw)
        decoder.feed(raw)
