"""An HTTP echo: says a fixed text, or what it was asked and by whom."""

import os
from itertools import pairwise

from cilia.lab.images.programs.web import Request, Response, json_answer, port_argument, serve


def main(arguments: list[str]) -> int:
    """Serves on `--port`, `-listen :N`, $PORT or 8080; with `-text` it says only that."""
    words = [part for word in arguments for part in word.split("=", 1)]
    texts = [b for a, b in pairwise(words) if a in ("-text", "--text")]
    hostname = os.uname().nodename

    def answer(request: Request) -> Response:
        if texts:
            return Response(texts[-1] + "\n")
        return json_answer(
            {
                "method": request.method,
                "path": request.target,
                "headers": request.headers,
                "body": request.body.decode(errors="replace"),
                "client": request.peer,
                "hostname": hostname,
            }
        )

    return serve(answer, port_argument(arguments, _default_port(bool(texts))))


def _default_port(says_text: bool) -> int:
    if os.environ.get("PORT", "").isdecimal():
        return int(os.environ["PORT"])
    return 5678 if says_text else 8080
