"""cilia-cni: the CNI plugin. Asks the node's agent, over a unix socket, and prints its answer.

Started for each pod, so start-up is what it costs: on the way that every ADD and
DEL takes it imports C modules alone, which spares the interpreter the reading of
json, re, enum, os, socket and selectors: more than half of the time. ADD fails fast when the agent
is away. DEL never fails: what an absent agent could not clean up, it cleans up
when it starts.

Source: https://github.com/containernetworking/cni/blob/main/SPEC.md (1.1.0).
"""

import sys
from _json import encode_basestring_ascii as quote
from _socket import AF_UNIX, SOCK_STREAM, socket
from posix import environ

VERSIONS = b'["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]'
NEWEST = "1.1.0"
SOCKET = "/run/cilia/cilia.sock"
COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION")
CONNECT_S = 2.0
ANSWER_S = 60.0
INVALID_ENVIRONMENT, DECODING_FAILURE, INVALID_CONFIG = 4, 6, 7
TRY_AGAIN_LATER, NOT_AVAILABLE = 11, 50


class Refusal(Exception):
    """What is printed instead of a result."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


def socket_path(text: bytes) -> str:
    """Where the agent listens: the configuration's field `socket`.

    Found without reading all of the JSON, which is the agent's to judge: quotes inside
    JSON strings are escaped, so `"socket"` and a colon is a key wherever it stands.
    """
    if not text.lstrip().startswith(b"{"):
        raise Refusal(DECODING_FAILURE, "standard input: not a JSON object", "see the CNI SPEC")
    _, found, rest = text.partition(b'"socket"')
    if not found:
        return SOCKET
    colon, _, value = rest.partition(b'"')
    path, closed, _ = value.partition(b'"')
    plain = colon.strip() == b":" and closed and path.startswith(b"/") and b"\\" not in path
    if not plain or b"\0" in path or b'"socket"' in rest:
        raise Refusal(
            INVALID_CONFIG, "socket: not one plain absolute path", f"use {SOCKET}, or leave it out"
        )
    return path.decode("utf-8", "surrogateescape")


def encode_request(command: str, text: bytes, environment: dict[str, str]) -> bytes:
    """The request to the agent, HTTP/1.0: its answer ends with the connection."""
    fields = [
        f'"{name}": {quote(environment.get(variable, ""))}'
        for name, variable in (
            ("container_id", "CNI_CONTAINERID"),
            ("netns", "CNI_NETNS"),
            ("ifname", "CNI_IFNAME"),
            ("args", "CNI_ARGS"),
        )
    ]
    body = ("{" + ", ".join(fields) + ', "config": ').encode() + text + b"}"
    head = f"POST /v1/cni/{command.lower()} HTTP/1.0\r\nHost: cilia\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(path: str, request: bytes) -> bytes:
    """The agent's whole answer."""
    agent = socket(AF_UNIX, SOCK_STREAM)
    try:
        agent.settimeout(CONNECT_S)
        agent.connect(path)
        agent.settimeout(ANSWER_S)
        agent.sendall(request)
        parts = []
        while part := agent.recv(65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        agent.close()


def decode_answer(answer: bytes) -> tuple[bool, bytes]:
    """Whether the agent did it, and the JSON that it wants printed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not body.startswith(b"{"):
        raise Refusal(TRY_AGAIN_LATER, "the agent's answer is not to be understood", "see its log")
    if words[1] == b"200":
        return True, body
    if b'"code"' not in body:
        reason = body.decode("utf-8", "replace")
        raise Refusal(TRY_AGAIN_LATER, f"the agent refused: {reason}", "see its log")
    return False, body


def run(command: str, text: bytes, environment: dict[str, str]) -> tuple[bool, bytes]:
    """Whether it was done, and what to print."""
    if command not in COMMANDS:
        raise Refusal(
            INVALID_ENVIRONMENT, f"CNI_COMMAND {command!r}: unknown", f"use {', '.join(COMMANDS)}"
        )
    if command == "VERSION":
        return True, b'{"cniVersion": "1.1.0", "supportedVersions": ' + VERSIONS + b"}"
    path = socket_path(text)
    try:
        answer = ask(path, encode_request(command, text, environment))
    except OSError as error:
        code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN_LATER
        raise Refusal(
            code,
            f"the cilia agent does not answer on {path}: {error.strerror or error}",
            "start the agent on this node; its log says why it is not running",
        ) from error
    return decode_answer(answer)


def encode_refusal(refusal: Refusal) -> bytes:
    """CNI's error object."""
    fields = f'"code": {refusal.code}, "msg": {quote(str(refusal))}'
    return f'{{"cniVersion": "{NEWEST}", {fields}, "details": {quote(refusal.details)}}}'.encode()


def main() -> int:
    """Runs the command in CNI_COMMAND; the exit status."""
    environment = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, value in environ.items()
    }
    command = environment.get("CNI_COMMAND", "")
    try:
        text = b"" if command == "VERSION" else sys.stdin.buffer.read()
        succeeded, output = run(command, text, environment)
    except Refusal as refusal:
        succeeded, output = False, encode_refusal(refusal)
    if command == "DEL":
        if not succeeded:
            sys.stderr.write(f"cilia-cni: DEL: {output.decode('utf-8', 'replace')}\n")
        return 0
    if output != b"{}":
        sys.stdout.buffer.write(output + b"\n")
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
