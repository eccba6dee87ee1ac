"""cilia-cni: the CNI plugin. Asks the node's agent, over a unix socket, and prints its answer.

Started for each pod, so it imports little: no urllib, no argparse, no re. ADD
fails fast when the agent is away. DEL never fails: what an absent agent could
not clean up, it cleans up when it starts.

Source: https://github.com/containernetworking/cni/blob/main/SPEC.md (1.1.0).
"""

import json
import os
import socket
import sys

VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
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


def read_config(text: bytes) -> dict[str, object]:
    """The network configuration on standard input."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            DECODING_FAILURE, f"standard input: {error}", "pass a CNI network configuration in JSON"
        ) from error
    if not isinstance(config, dict):
        raise Refusal(DECODING_FAILURE, "standard input: not a JSON object", "see the CNI SPEC")
    return config


def socket_path(config: dict[str, object]) -> str:
    """Where the agent listens."""
    path = config.get("socket", SOCKET)
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise Refusal(
            INVALID_CONFIG, f"socket {path!r}: not an absolute path", f"use {SOCKET}, or leave out"
        )
    return path


def encode_request(command: str, config: dict[str, object], environment: dict[str, str]) -> bytes:
    """The request to the agent, HTTP/1.0: its answer ends with the connection."""
    body = json.dumps(
        {
            "container_id": environment.get("CNI_CONTAINERID", ""),
            "netns": environment.get("CNI_NETNS", ""),
            "ifname": environment.get("CNI_IFNAME", ""),
            "args": environment.get("CNI_ARGS", ""),
            "config": config,
        }
    ).encode()
    head = f"POST /v1/cni/{command.lower()} HTTP/1.0\r\nHost: cilia\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(path: str, request: bytes) -> bytes:
    """The agent's whole answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.settimeout(CONNECT_S)
        agent.connect(path)
        agent.settimeout(ANSWER_S)
        agent.sendall(request)
        parts = []
        while part := agent.recv(65536):
            parts.append(part)
        return b"".join(parts)


def decode_answer(answer: bytes) -> tuple[bool, dict[str, object]]:
    """Whether the agent did it, and what it says."""
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        succeeded = head.split(None, 2)[1] == b"200"
        found = json.loads(body)
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except (IndexError, ValueError) as error:
        raise Refusal(
            TRY_AGAIN_LATER, f"the agent's answer is not to be understood: {error}", "see its log"
        ) from error
    if not succeeded and "code" not in found:
        reason = found.get("error", "no reason given")
        raise Refusal(TRY_AGAIN_LATER, f"the agent refused: {reason}", "see its log")
    return succeeded, found


def run(command: str, text: bytes, environment: dict[str, str]) -> dict[str, object]:
    """What to print; empty for nothing."""
    if command not in COMMANDS:
        raise Refusal(
            INVALID_ENVIRONMENT, f"CNI_COMMAND {command!r}: unknown", f"use {', '.join(COMMANDS)}"
        )
    if command == "VERSION":
        return {"cniVersion": VERSIONS[-1], "supportedVersions": VERSIONS}
    config = read_config(text)
    path = socket_path(config)
    try:
        answer = ask(path, encode_request(command, config, environment))
    except OSError as error:
        code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN_LATER
        raise Refusal(
            code,
            f"the cilia agent does not answer on {path}: {error.strerror or error}",
            "start the agent on this node; its log says why it is not running",
        ) from error
    succeeded, found = decode_answer(answer)
    if not succeeded:
        raise Refusal(int(str(found["code"])), str(found.get("msg")), str(found.get("details", "")))
    return found


def main() -> int:
    """Runs the command in CNI_COMMAND; the exit status."""
    environment = dict(os.environ)
    command = environment.get("CNI_COMMAND", "")
    try:
        text = b"" if command == "VERSION" else sys.stdin.buffer.read()
        result = run(command, text, environment)
    except Refusal as refusal:
        if command == "DEL":
            print(f"cilia-cni: DEL: {refusal}", file=sys.stderr)
            return 0
        result = {
            "cniVersion": VERSIONS[-1],
            "code": refusal.code,
            "msg": str(refusal),
            "details": refusal.details,
        }
        print(json.dumps(result))
        return 1
    if result:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
