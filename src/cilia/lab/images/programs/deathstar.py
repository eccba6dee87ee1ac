"""The battle station of the Star Wars demo: a small HTTP API on port 80."""

from cilia.lab.images.programs.web import Request, Response, json_answer, port_argument, serve

_ROUTES = {
    ("GET", "/v1/"): "This list.",
    ("POST", "/v1/request-landing"): "Asks for permission to land.",
    ("PUT", "/v1/cargobay"): "Stores cargo.",
    ("GET", "/v1/hyper-matter-reactor/status"): "Tells how the reactor does.",
    ("PUT", "/v1/exhaust-port"): "Not for the public.",
}
PANIC = """Panic: deathstar exploded

goroutine 1 [running]:
main.(*ExhaustPort).Accept(0xc0000a6000, {0x6f2c10, 0xe})
\t/src/deathstar/exhaust_port.go:77 +0x1d8
main.(*Station).Route(0xc0000a6000, {0x6f1b22, 0x3}, {0xc00001a0f8, 0x10})
\t/src/deathstar/station.go:41 +0x93
main.main()
\t/src/deathstar/main.go:12 +0x4f
exit status 2
"""


def answer(request: Request) -> Response:
    """What the station says to a request."""
    path = request.path
    if request.method == "GET" and path in ("/", "/v1", "/v1/"):
        return json_answer(_description())
    replies = {
        ("POST", "/v1/request-landing"): Response("Ship landed\n"),
        ("PUT", "/v1/exhaust-port"): Response(PANIC, 503),
        ("PUT", "/v1/cargobay"): Response("Cargo stored\n"),
        ("GET", "/v1/hyper-matter-reactor/status"): json_answer({"status": "stable"}),
    }
    found = replies.get((request.method, path.rstrip("/")))
    if found is not None:
        return found
    if any(path.rstrip("/") == known for _, known in replies):
        return Response(f"{request.method} is not allowed here\n", 405)
    return Response("There is no such place on this station\n", 404)


def _description() -> dict[str, object]:
    return {
        "name": "Death Star",
        "hostname": _hostname(),
        "model": "DS-1 Orbital Battle Station",
        "manufacturer": "Imperial Department of Military Research",
        "cost_in_credits": "1000000000000",
        "length": "120000",
        "crew": "342953",
        "passengers": "843342",
        "cargo_capacity": "1000000000000",
        "hyperdrive_rating": "4.0",
        "starship_class": "Deep Space Mobile Battlestation",
        "api": [f"{method:6} {path:32} # {what}" for (method, path), what in _ROUTES.items()],
    }


def _hostname() -> str:
    with open("/proc/sys/kernel/hostname", encoding="utf-8") as file:
        return file.read().strip()


def main(arguments: list[str]) -> int:
    """Serves on port 80, or on `--port`."""
    return serve(answer, port_argument(arguments, 80))
