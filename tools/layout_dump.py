"""Writes bpf/layout.json: what kernel and Python share, so that a change shows in review.

`python tools/layout_dump.py` writes it; `--check` says whether it is fresh. Nothing reads
it at run time: Python reads the object's BTF.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cilia.kernel.btf import ENUM, STRUCT, Btf

ROOT = Path(__file__).parents[1]
OBJECT = ROOT / "src/cilia/datapath/objects/layout.bpf.o"
RECORD = ROOT / "bpf/layout.json"
DECLARATIONS = {"event_ring"}
"""Structs that only declare a map: pointers for libbpf, no layout."""


def field_text(kind: np.dtype[Any]) -> str:
    """A field's type in numpy's words: "<u4", ">u2", "<u8[2]", "address"."""
    if kind.subdtype is not None:
        inner, (count,) = kind.subdtype
        return f"{field_text(inner)}[{count}]"
    return "address" if kind == np.dtype("V16") else kind.str.replace("|", "")


def struct_facts(btf: Btf, name: str) -> dict[str, Any]:
    """Size and fields of a struct; a field is `offset type unit`."""
    layout, units = btf.struct(name), btf.units(name)
    assert layout.fields is not None
    return {
        "bytes": layout.itemsize,
        "fields": {
            field: " ".join([str(place), field_text(kind), units.get(field, "")]).strip()
            for field, (kind, place, *_) in layout.fields.items()
        },
    }


def layout(btf: Btf) -> dict[str, Any]:
    """All structs, enums and maps that the object mentions."""
    structs = sorted(set(btf.names(STRUCT)) - DECLARATIONS)
    maps = {}
    for name in sorted(btf.maps()):
        key, value = btf.map_types(name)
        maps[name] = {
            "key_bytes": key.itemsize if key else 0,
            "value_bytes": value.itemsize if value else 0,
        }
    return {
        "structs": {name: struct_facts(btf, name) for name in structs},
        "enums": {name: btf.enum(name) for name in sorted(set(btf.names(ENUM)))},
        "maps": maps,
    }


def main() -> int:
    """Writes the record, or with `--check` compares it; 1 when it is stale."""
    text = json.dumps(layout(Btf.from_object(OBJECT)), indent=2) + "\n"
    if "--check" not in sys.argv:
        RECORD.write_text(text)
        return 0
    if not RECORD.exists() or RECORD.read_text() != text:
        print("bpf/layout.json is stale: run `python tools/layout_dump.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
