"""Writes the Python of src/cilia/hubble/proto from its .proto files.

`python tools/hubble_proto.py` writes it; `--check` says whether it is fresh. The modules are
committed, so that installing needs no compiler. protoc takes the packages `flow` and
`observer` for top-level Python packages; here they lie inside `cilia.hubble.proto`.
"""

import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parents[1] / "src/cilia/hubble/proto"
SOURCES = ("flow/flow.proto", "relay/relay.proto", "observer/observer.proto", "peer/peer.proto")
SERVICES = ("observer/observer.proto", "peer/peer.proto")
PLUGINS = Path(sys.executable).parent
ROOTS = "|".join(source.split("/")[0] for source in SOURCES)
IMPORT = re.compile(rf"^(from|import) ({ROOTS})\b", re.MULTILINE)


def generated() -> dict[Path, str]:
    """Every generated file, under `PROTO`, and its text."""
    with tempfile.TemporaryDirectory() as folder:
        common = [f"-I{PROTO}", f"-I{files('grpc_tools') / '_proto'}"]
        messages = [f"--python_out={folder}", f"--mypy_out=quiet:{folder}"]
        services = [f"--grpc_python_out={folder}", f"--mypy_grpc_out=quiet:{folder}"]
        plugins = [f"--plugin={PLUGINS / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
        for flags, sources in ((messages, SOURCES), (services, SERVICES)):
            if protoc.main(["protoc", *common, *plugins, *flags, *sources]) != 0:
                raise SystemExit(1)
        made = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder): _moved(path.read_text()) for path in made}


def _moved(text: str) -> str:
    """The text with its imports turned to where the modules lie."""
    return IMPORT.sub(r"\1 cilia.hubble.proto.\2", text)


def main() -> int:
    """Writes the modules, or with `--check` compares them; 1 when one is stale."""
    texts = {PROTO / path: text for path, text in generated().items()}
    if "--check" not in sys.argv:
        for path, text in texts.items():
            path.write_text(text)
        return 0
    stale = [p for p, text in texts.items() if not p.exists() or p.read_text() != text]
    for path in stale:
        print(f"{path} is stale: run `python tools/hubble_proto.py`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
