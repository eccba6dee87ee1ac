"""A small netcat: connects or listens, TCP or UDP, and copies both ways."""

import os
import selectors
import socket
import sys

_IDLE_S = 60.0


def main(arguments: list[str]) -> int:
    """0 when a connection came about, else 1."""
    flags: set[str] = set()
    seconds: float | None = None
    port = ""
    places: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word == "-":
            places.append(word)
            continue
        for index, letter in enumerate(word[1:], 1):
            if letter in "wpq":
                value = word[index + 1 :] or next(words, "")
                if letter == "w":
                    seconds = float(value)
                port = value if letter == "p" else port
                break
            flags.add(letter)
    kind = socket.SOCK_DGRAM if "u" in flags else socket.SOCK_STREAM
    try:
        if "l" in flags:
            return _listen(int(port or places[-1]), kind)
        return _connect(places[0], int(places[1]), kind, seconds, flags)
    except (OSError, IndexError, ValueError) as error:
        print(f"nc: {error}", file=sys.stderr)
        return 1


def _connect(host: str, port: int, kind: int, seconds: float | None, flags: set[str]) -> int:
    family = socket.AF_INET6 if "6" in flags else socket.AF_INET if "4" in flags else 0
    found = socket.getaddrinfo(host, port, family, kind)[0]
    with socket.socket(found[0], kind) as channel:
        channel.settimeout(seconds)
        channel.connect(found[4])
        if "v" in flags:
            print(f"Connection to {host} {port} port succeeded!", file=sys.stderr)
        if "z" not in flags:
            _copy(channel, seconds)
    return 0


def _listen(port: int, kind: int) -> int:
    with socket.socket(socket.AF_INET6, kind) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        if kind == socket.SOCK_DGRAM:
            text, place = listener.recvfrom(65536)
            os.write(1, text)
            listener.connect(place)
            _copy(listener, None)
            return 0
        listener.listen(1)
        channel, _ = listener.accept()
        with channel:
            _copy(channel, None)
    return 0


def _copy(channel: socket.socket, idle: float | None) -> None:
    """Both ways until the peer ends, or nothing comes for a while after our input's end."""
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        try:
            selector.register(0, selectors.EVENT_READ)
        except PermissionError:
            # Standard input is a file, which is always readable.
            channel.sendall(os.read(0, 1 << 20))
        while ready := selector.select(idle if idle is not None else _IDLE_S):
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if key.fd != 0:
                    if not chunk:
                        return
                    os.write(1, chunk)
                elif chunk:
                    channel.sendall(chunk)
                else:
                    selector.unregister(0)
                    if channel.type == socket.SOCK_STREAM:
                        channel.shutdown(socket.SHUT_WR)
