"""Image names, and what they mean."""

import json
import tarfile
from pathlib import Path

import pytest

from cilia.lab.images.catalogue import CATALOGUE, UnknownImage, find_image, repository


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("busybox", "busybox"),
        ("busybox:1.36", "busybox"),
        ("docker.io/library/busybox:1.36", "busybox"),
        ("quay.io/cilium/json-mock:v1.4.1@sha256:" + "a" * 64, "cilium/json-mock"),
        ("registry.k8s.io/coredns/coredns:v1.14.6", "coredns/coredns"),
        ("localhost:5000/cilium/starwars", "cilium/starwars"),
        ("curlimages/curl", "curlimages/curl"),
    ],
)
def test_registry_tag_and_digest_do_not_matter(reference: str, expected: str) -> None:
    assert repository(reference) == expected


def test_every_name_of_the_catalogue_is_found(tmp_path: Path) -> None:
    for entry in CATALOGUE:
        for name in entry.names:
            assert find_image(f"example.org/{name}:any", tmp_path).name == entry.title


def test_an_unknown_image_says_what_there_is_and_how_to_add_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownImage) as refused:
        find_image("example.org/no/such:1", tmp_path)
    for word in ("example.org/no/such:1", "cilium/starwars", "busybox", "file:///path"):
        assert word in str(refused.value)


def test_a_folder_lies_over_the_host_unless_it_is_complete(tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "usr" / "bin").mkdir(parents=True)
    assert find_image(f"file://{image}", tmp_path).is_over_host
    (image / "usr" / "bin" / "sh").touch()
    found = find_image(f"file://{image}", tmp_path)
    assert (found.is_over_host, found.lower) == (False, image)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownImage, match="does not exist"):
        find_image(f"file://{tmp_path}/none", tmp_path)


def _layer(folder: Path, name: str, files: dict[str, str]) -> Path:
    content = folder / name
    for path, text in files.items():
        (content / path).parent.mkdir(parents=True, exist_ok=True)
        (content / path).write_text(text)
    out = folder / f"{name}.tar"
    with tarfile.open(out, "w") as archive:
        archive.add(content, arcname=".")
    return out


def test_an_archive_is_unpacked_layer_by_layer_with_whiteouts(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    first = _layer(tmp_path, "first", {"etc/a": "a", "etc/b": "b", "dir/c": "c"})
    second = _layer(tmp_path, "second", {"etc/.wh.b": "", "dir/.wh..wh..opq": "", "dir/d": "d"})
    (blobs / "l1").write_bytes(first.read_bytes())
    (blobs / "l2").write_bytes(second.read_bytes())
    config = {"config": {"Entrypoint": ["/app"], "Cmd": ["x"], "Env": ["A=b"], "WorkingDir": "/w"}}
    (blobs / "c").write_text(json.dumps(config))
    layers = [{"digest": "sha256:l1"}, {"digest": "sha256:l2"}]
    (blobs / "m").write_text(json.dumps({"config": {"digest": "sha256:c"}, "layers": layers}))
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:m"}]}))
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as archive:
        for item in layout.iterdir():
            archive.add(item, arcname=item.name)
    image = find_image(f"file://{path}", tmp_path / "cache")
    assert (image.command, image.args, image.working_dir) == (("/app",), ("x",), "/w")
    assert image.env["A"] == "b"
    assert (image.lower / "etc" / "a").read_text() == "a"
    assert not (image.lower / "etc" / "b").exists()
    assert [item.name for item in (image.lower / "dir").iterdir()] == ["d"]
    assert find_image(f"file://{path}", tmp_path / "cache") == image


def test_a_layer_cannot_write_through_a_link_that_leads_out(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "out").symlink_to(tmp_path)
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as archive:
        archive.add(layer / "out", arcname="out")
        (tmp_path / "file").write_text("x")
        archive.add(tmp_path / "file", arcname="out/escaped")
    (tmp_path / "m.json").write_text(json.dumps([{"Config": "c.json", "Layers": ["l.tar"]}]))
    (tmp_path / "c.json").write_text("{}")
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "m.json", arcname="manifest.json")
        archive.add(tmp_path / "c.json", arcname="c.json")
        archive.add(bad, arcname="l.tar")
    with pytest.raises(UnknownImage, match="leads out"):
        find_image(f"file://{path}", tmp_path / "cache")
    assert not (tmp_path / "escaped").exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("nonsense")
    with pytest.raises(UnknownImage, match="no OCI image archive"):
        find_image(f"file://{tmp_path}/x.tar", tmp_path)
