"""The wheel carries the compiled objects and nothing that needs a compiler."""

import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_object_and_no_c_source(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    objects = {Path(name).name for name in names if name.endswith(".bpf.o")}
    assert objects == {f"{path.stem}.o" for path in (ROOT / "bpf").glob("*.bpf.c")}
    assert not [name for name in names if name.endswith((".c", ".h"))]


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("cilia/")}
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "cilia").rglob("*")
        if path.is_file() and path.suffix in (".py", ".yaml", ".json", ".typed", ".o")
    }
    assert wanted - packed == set()
