"""What is generated of libbpf's declarations is what they say."""

import runpy
from pathlib import Path

from cilia.kernel import libbpf

ROOT = Path(__file__).parents[3]


def test_the_module_is_made_of_the_declarations(tmp_path: Path) -> None:
    fresh = tmp_path / "_libbpf.py"
    runpy.run_path(str(ROOT / "tools/libbpf.py"))["write"](fresh)
    assert fresh.read_text() == (ROOT / "src/cilia/kernel/_libbpf.py").read_text(), (
        "run: python tools/libbpf.py"
    )


def test_structs_have_the_sizes_that_the_kernel_expects() -> None:
    sizes = {"bpf_map_batch_opts": 24, "bpf_link_info": 144, "bpf_map_info": 88}
    assert {name: libbpf.ffi.sizeof(f"struct {name}") for name in sizes} == sizes
