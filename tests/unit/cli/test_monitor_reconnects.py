"""`cilia monitor` outlives the observer."""

import itertools
import json
import socket
import threading
from pathlib import Path

import pytest

from cilia.cli.commands.monitor import events, followed


def serve_twice(listener: socket.socket) -> None:
    for number in range(2):
        conn, _ = listener.accept()
        with conn:
            conn.makefile("rb").readline()
            for event in ({"type": "listening"}, {"type": "drop", "number": number}):
                conn.sendall(json.dumps(event).encode() + b"\n")


def test_a_line_that_an_observer_did_not_finish_is_not_read(tmp_path: Path) -> None:
    def serve(listener: socket.socket) -> None:
        conn, _ = listener.accept()
        with conn:
            conn.makefile("rb").readline()
            conn.sendall(b'{"type": "listening"}\n{"type": "dr')

    path = tmp_path / "monitor.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        seen = list(events(path, {}))
        server.join()
    assert seen == [{"type": "listening"}]


def test_an_observer_that_went_away_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "monitor.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve_twice, args=(listener,))
        server.start()
        seen = list(itertools.islice(followed(path, {}), 3))
        server.join()

    assert [event.get("number") for event in seen] == [None, 0, 1]
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("the observer went away")
    assert told[1] == "the observer is back"
