"""A small nslookup: asks the system's resolver for a name's addresses."""

import socket
import sys


def main(arguments: list[str]) -> int:
    """0 when the name has an address, else 1."""
    names = [word for word in arguments if not word.startswith("-")]
    if not names:
        print("nslookup: usage: nslookup NAME", file=sys.stderr)
        return 1
    try:
        found = socket.getaddrinfo(names[0], None, type=socket.SOCK_STREAM)
    except OSError as error:
        print(f"** server can't find {names[0]}: {error.strerror}", file=sys.stderr)
        return 1
    for place in dict.fromkeys(str(item[4][0]) for item in found):
        print(f"Name:\t{names[0]}\nAddress: {place}")
    return 0
