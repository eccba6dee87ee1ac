"""A small wget: fetches one address to a file or to standard output."""

import sys
import time

from cilia.lab.images.programs.http_client import Exchange, Unresolved, Url, perform

_VALUES = ("-O", "-T", "-t", "--timeout", "--tries", "--header", "--post-data", "--output-document")


def main(arguments: list[str]) -> int:
    """Exit codes of wget(1): 4 network failure, 8 the server refused."""
    values: dict[str, str] = {}
    headers: list[tuple[str, str]] = []
    urls: list[str] = []
    words = iter(arguments)
    for word in words:
        name, mark, value = word.partition("=")
        if word.startswith("-q") and len(word) > 2:
            name, value = "-" + word[2:3], word[3:]
            mark = value
        if name in _VALUES:
            text = value if mark else next(words, "")
            values[name] = text
            if name == "--header":
                headers.append((text.partition(":")[0], text.partition(":")[2].strip()))
        elif not word.startswith("-"):
            urls.append(word)
    if not urls:
        print("wget: missing URL", file=sys.stderr)
        return 1
    return _fetch(urls[0], values, headers)


def _fetch(text: str, values: dict[str, str], headers: list[tuple[str, str]]) -> int:
    try:
        url = Url(text)
        body = values.get("--post-data", "").encode()
        exchange = Exchange("POST" if body else "GET", url, headers, body)
        seconds = float(values.get("-T") or values.get("--timeout") or 900)
        exchange.deadline = time.monotonic() + seconds
        answer = perform(exchange)
    except Unresolved:
        print(f"wget: bad address '{text}'", file=sys.stderr)
        return 4
    except (OSError, EOFError, ValueError) as error:
        print(f"wget: can't connect to remote host: {error}", file=sys.stderr)
        return 4
    if answer.status >= 400:
        print(f"wget: server returned error: HTTP/1.1 {answer.status}", file=sys.stderr)
        return 8
    default = url.target.rpartition("/")[2] or "index.html"
    path = values.get("-O") or values.get("--output-document") or default
    if path == "-":
        sys.stdout.buffer.write(answer.body)
        sys.stdout.flush()
    else:
        with open(path, "wb") as file:
            file.write(answer.body)
    return 0
