"""A JSON web server for connectivity checks: fixed documents, and the client's address."""

import os

from cilia.lab.images.programs.web import Request, Response, json_answer, port_argument, serve

_DOCUMENTS = {
    "/": {"message": "hello", "pages": ["/public", "/private", "/client-ip"]},
    "/public": {"id": 1, "body": "public information"},
    "/private": {"id": 2, "body": "private information"},
}


def answer(request: Request) -> Response:
    """What it says to a request."""
    path = request.path
    if path == "/client-ip":
        return json_answer({"client-ip": request.peer})
    if path == "/auth-header-required":
        if "authorization" not in request.headers:
            return json_answer({"error": "the Authorization header is missing"}, 401)
        return json_answer({"message": "authorized"})
    if path in _DOCUMENTS:
        return json_answer(_DOCUMENTS[path])
    return json_answer({}, 404)


def main(arguments: list[str]) -> int:
    """Serves on $PORT, or on port 8080."""
    return serve(answer, port_argument(arguments, int(os.environ.get("PORT", "8080"))))
