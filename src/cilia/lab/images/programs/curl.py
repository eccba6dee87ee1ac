"""A small curl for containers on hosts that have none: the options that demos use.

Source: curl(1), sections OPTIONS and EXIT CODES.
"""

import base64
import socket
import ssl
import sys
import time
from collections.abc import Iterator

from cilia.lab.images.programs.http_client import (
    Answer,
    Exchange,
    TooSlow,
    Unresolved,
    Url,
    perform,
)

_SHORT = {
    "s": "silent", "S": "show-error", "f": "fail", "X": "request", "d": "data", "H": "header",
    "o": "output", "O": "remote-name", "w": "write-out", "I": "head", "i": "include",
    "v": "verbose", "k": "insecure", "L": "location", "m": "max-time", "4": "ipv4", "6": "ipv6",
    "A": "user-agent", "u": "user", "N": "no-buffer", "g": "globoff", "D": "dump-header",
    "G": "get", "e": "referer", "b": "cookie",
}  # fmt: skip
_FLAGS = {"silent", "show-error", "fail", "head", "include", "verbose", "insecure", "location",
          "ipv4", "ipv6", "no-buffer", "globoff", "get", "retry-connrefused", "http1.1",
          "http1.0", "compressed", "retry-all-errors", "fail-with-body", "no-keepalive",
          "no-progress-meter", "remote-name", "path-as-is", "tcp-nodelay"}  # fmt: skip
_VALUES = {"request", "data", "data-raw", "data-binary", "header", "output", "write-out", "url",
           "max-time", "connect-timeout", "retry", "retry-delay", "retry-max-time", "user-agent",
           "user", "dump-header", "max-redirs", "resolve", "json", "noproxy", "referer",
           "cookie", "connect-to", "interface", "local-port"}  # fmt: skip
_MANY = {"header", "data", "resolve", "url"}
_RETRIED = {408, 429, 500, 502, 503, 504}
VERSION = "8.0.0"


class Usage(Exception):
    """The command line is wrong."""


class Failed(Exception):
    """The transfer failed."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Options:
    """A parsed command line."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.values: dict[str, list[str]] = {}

    def one(self, name: str, default: str = "") -> str:
        """The last value of an option."""
        return self.values.get(name, [default])[-1]

    def seconds(self, name: str) -> float | None:
        """An option that is a time."""
        return float(self.one(name)) if name in self.values else None


def parse(arguments: list[str]) -> Options:
    """The options of a command line.

    Raises:
        Usage: An option is unknown or has no value.
    """
    options = Options()
    words = iter(arguments)
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, mark, value = word[2:].partition("=")
            _take(options, name, words, value if mark else None)
        elif word.startswith("-") and len(word) > 1:
            _take_cluster(options, word[1:], words)
        else:
            options.values.setdefault("url", []).append(word)
    return options


def _take_cluster(options: Options, letters: str, words: Iterator[str]) -> None:
    while letters:
        name = _SHORT.get(letters[0])
        if name is None:
            raise Usage(f"option -{letters[0]}: is unknown")
        letters = letters[1:]
        if name in _VALUES:
            _take(options, name, words, letters or None)
            return
        _take(options, name, words, None)


def _take(options: Options, name: str, words: Iterator[str], value: str | None) -> None:
    if name in _FLAGS or name.startswith("no-"):
        options.flags.add(name)
        return
    if name not in _VALUES:
        raise Usage(f"option --{name}: is unknown")
    if value is None:
        value = next(words, None)
        if value is None:
            raise Usage(f"option --{name}: requires parameter")
    kept = "data" if name in ("data-raw", "data-binary", "json") else name
    if name == "json":
        options.values.setdefault("header", []).append("Content-Type: application/json")
    options.values.setdefault(kept, []).append(value)


def main(arguments: list[str]) -> int:
    """Transfers; the exit code is curl's."""
    if arguments[:1] in (["--version"], ["-V"]):
        print(f"curl {VERSION} (cilia lab)\nProtocols: http https")
        return 0
    try:
        options = parse(arguments)
        urls = options.values.get("url", [])
        if not urls:
            raise Usage("no URL specified")
    except Usage as error:
        print(f"curl: {error}\ncurl: this is the lab's small curl", file=sys.stderr)
        return 2
    code = 0
    for url in urls:
        code = _transfer(options, url)
    return code


def _transfer(options: Options, url: str) -> int:
    attempts = int(options.one("retry", "0"))
    delay = options.seconds("retry-delay")
    for attempt in range(attempts + 1):
        began = time.monotonic()
        last = attempt == attempts
        try:
            answer = _follow(options, url)
            if not last and answer.status in _RETRIED:
                time.sleep(1.0 if delay is None else delay)
                continue
            return _deliver(options, answer, time.monotonic() - began)
        except Failed as error:
            again = error.code in (6, 28) or (
                error.code == 7 and options.flags & {"retry-connrefused", "retry-all-errors"}
            )
            if not last and again:
                time.sleep(min(2.0**attempt, 60.0) if delay is None else delay)
                continue
            _complain(options, error.code, str(error))
            _write_out(options, None, time.monotonic() - began)
            return error.code
    return 0


def _follow(options: Options, text: str) -> Answer:
    limit = options.seconds("max-time")
    deadline = None if limit is None else time.monotonic() + limit
    try:
        url = Url(text)
    except ValueError as error:
        raise Failed(1 if "Protocol" in str(error) else 3, str(error)) from error
    method, body = _method(options), "&".join(options.values.get("data", [])).encode()
    if "get" in options.flags and body:
        url.target += ("&" if "?" in url.target else "?") + body.decode()
        body = b""
    for _ in range(int(options.one("max-redirs", "50")) + 1):
        answer = _ask(options, method, url, body, deadline)
        location = answer.headers.get("location")
        if "location" not in options.flags or not location or answer.status // 100 != 3:
            return answer
        url = url.join(location)
        if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
            method, body = "GET", b""
    raise Failed(47, "Maximum redirects followed")


def _method(options: Options) -> str:
    if "request" in options.values:
        return options.one("request")
    if "head" in options.flags:
        return "HEAD"
    return "POST" if "data" in options.values and "get" not in options.flags else "GET"


def _ask(options: Options, method: str, url: Url, body: bytes, deadline: float | None) -> Answer:
    exchange = Exchange(method, url, _headers(options, body), _file_body(body))
    exchange.deadline = deadline
    exchange.connect_seconds = options.seconds("connect-timeout")
    exchange.verify = "insecure" not in options.flags
    if options.flags & {"ipv4", "ipv6"}:
        exchange.family = socket.AF_INET if "ipv4" in options.flags else socket.AF_INET6
    for rule in options.values.get("resolve", []):
        host, port, address = rule.split(":", 2)
        if (host, port) == (url.host, str(url.port)):
            exchange.address = (address.strip("[]"), url.port)
    try:
        answer = perform(exchange)
    except Unresolved as error:
        raise Failed(6, str(error)) from error
    except TooSlow as error:
        limit = f" after {float(options.one('max-time', '0')) * 1000:.0f} milliseconds"
        raise Failed(28, f"{error}{limit if deadline else ''}") from error
    except ssl.SSLCertVerificationError as error:
        raise Failed(60, f"SSL certificate problem: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Failed(35, str(error)) from error
    except EOFError as error:
        raise Failed(52, str(error)) from error
    except ConnectionResetError as error:
        raise Failed(56, "Recv failure: Connection reset by peer") from error
    except OSError as error:
        text = f"Failed to connect to {url.host} port {url.port}: {error.strerror or error}"
        raise Failed(7, text) from error
    _tell(options, method, url, answer)
    return answer


def _tell(options: Options, method: str, url: Url, answer: Answer) -> None:
    if "verbose" not in options.flags:
        return
    told = [f"* Connected to {url.host} ({answer.peer}) port {url.port}",
            f"> {method} {url.target} HTTP/1.1", f"> Host: {url.authority}", ">"]  # fmt: skip
    told += ["< " + line for line in answer.head.decode("latin-1").split("\r\n")[:-1]]
    print("\n".join(told), file=sys.stderr)


def _file_body(body: bytes) -> bytes:
    """A body that begins with @ is a file's name."""
    if not body.startswith(b"@"):
        return body
    if body == b"@-":
        return sys.stdin.buffer.read()
    try:
        with open(body[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise Failed(26, f"Failed to open {body[1:].decode()}") from error


def _headers(options: Options, body: bytes) -> list[tuple[str, str]]:
    out = {"User-Agent": f"curl/{VERSION}", "Accept": "*/*"}
    if body:
        out["Content-Type"] = "application/x-www-form-urlencoded"
    if "user" in options.values:
        out["Authorization"] = "Basic " + base64.b64encode(options.one("user").encode()).decode()
    for option, name in (
        ("user-agent", "User-Agent"),
        ("referer", "Referer"),
        ("cookie", "Cookie"),
    ):
        if option in options.values:
            out[name] = options.one(option)
    for header in options.values.get("header", []):
        name, _, value = header.partition(":")
        known = next((key for key in out if key.lower() == name.lower()), name)
        out[known] = value.strip()
    return [(name, value) for name, value in out.items() if value]


def _deliver(options: Options, answer: Answer, seconds: float) -> int:
    refused = answer.status >= 400 and options.flags & {"fail", "fail-with-body"}
    if not (refused and "fail" in options.flags):
        head = answer.head if options.flags & {"head", "include"} else b""
        path = options.one("output", "-")
        if path == "-":
            sys.stdout.buffer.write(head + answer.body)
            sys.stdout.flush()
        else:
            with open(path, "wb") as file:
                file.write(head + answer.body)
    _write_out(options, answer, seconds)
    if refused:
        _complain(options, 22, f"The requested URL returned error: {answer.status}")
        return 22
    return 0


def _write_out(options: Options, answer: Answer | None, seconds: float) -> None:
    text = options.one("write-out")
    if not text:
        return
    values = {
        "http_code": f"{answer.status if answer else 0:03d}",
        "response_code": f"{answer.status if answer else 0:03d}",
        "remote_ip": answer.peer if answer else "",
        "size_download": str(len(answer.body) if answer else 0),
        "time_total": f"{seconds:.6f}",
    }
    for name, value in values.items():
        text = text.replace(f"%{{{name}}}", value)
    for escape, value in (("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r")):
        text = text.replace(escape, value)
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(options: Options, code: int, text: str) -> None:
    if "silent" not in options.flags or "show-error" in options.flags:
        print(f"curl: ({code}) {text}", file=sys.stderr)
