"""Objects to pinned maps and programs, so that the datapath outlives the agent.

On a first start everything is made and pinned. On a later one, programs from
the same objects with the same configuration are kept as they are; others are
loaded beside the running ones, on the same maps, and take the place of the old
in each link: a packet always meets one of the two.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np

from cilia.datapath import layout
from cilia.datapath.config import DatapathConfig, encode
from cilia.datapath.growth import check_names, fill, pin_in_place, too_small
from cilia.kernel import mounts
from cilia.kernel.errors import NotFoundError
from cilia.kernel.links import Link
from cilia.kernel.maps import Map, MapKind, possible_cpus
from cilia.kernel.objects import BpfObject, Program
from cilia.model.site import NodeSite

log = logging.getLogger(__name__)

OBJECT_NAMES = ("pod", "host", "sock")
RING_BYTES = 1 << 20
_STAMP = "datapath.json"


class Loaded(msgspec.Struct, frozen=True):
    """What `load` leaves open."""

    maps: dict[str, Map]
    """By name."""
    programs: dict[str, Program]
    """By name."""
    adopted: bool
    """The running programs were kept."""


def pins(site: NodeSite, kind: str) -> Path:
    """Folder of a node's pins: kind is maps, progs, links or rings."""
    return site.bpffs / kind


def load(
    site: NodeSite,
    config: DatapathConfig,
    *,
    capacities: Mapping[str, int] | None = None,
    objects: Path = layout.OBJECTS,
) -> Loaded:
    """Brings the node's maps, programs and rings into the kernel, or adopts them.

    Args:
        site: Where they are pinned.
        config: Frozen into the programs.
        capacities: Rows of maps by name, where they differ from the declaration. Of those
            that are pinned, the agent's own grow and keep their rows; others keep their size.
        objects: Folder of the compiled objects.

    Raises:
        LayoutError: A pinned map has another layout than the object declares.
        VerifierError: The kernel refused a program.
        InvalidValue: `capacities` names no map.
    """
    mounts.mount_bpffs(site.bpffs)
    for kind in ("maps", "progs", "links", "rings"):
        pins(site, kind).mkdir(parents=True, exist_ok=True)
    stamp = fingerprint(config, objects)
    growing = too_small(pins(site, "maps"), capacities or {})
    adopted = None if growing else _adopt(site, stamp, objects)
    if adopted is None:
        _stamp_file(site).unlink(missing_ok=True)
        adopted = _load_all(site, config, capacities or {}, growing, objects)
        site.run.mkdir(parents=True, exist_ok=True)
        _stamp_file(site).write_text(stamp)
    install_rings(site, adopted.maps["event_rings"])
    log.info("datapath ready", extra={"node": site.name, "adopted": adopted.adopted})
    return adopted


def fingerprint(config: DatapathConfig, objects: Path = layout.OBJECTS) -> str:
    """Equal for equal objects and equal configuration."""
    digest = hashlib.sha256(encode(config))
    for name in OBJECT_NAMES:
        digest.update(_object_path(objects, name).read_bytes())
    return digest.hexdigest()


def _object_path(objects: Path, name: str) -> Path:
    path = objects / f"{name}.bpf.o"
    if not path.exists():
        raise layout.LayoutError(f"{path} is missing: build the kernel objects with `make -C bpf`")
    return path


def _stamp_file(site: NodeSite) -> Path:
    return site.run / _STAMP


def _adopt(site: NodeSite, stamp: str, objects: Path) -> Loaded | None:
    """The running datapath, when it is what we would load; else None."""
    file = _stamp_file(site)
    if not file.exists() or file.read_text() != stamp:
        return None
    maps, programs = {}, {}
    try:
        for name in OBJECT_NAMES:
            with BpfObject(_object_path(objects, name)) as one:
                for map_name in one.map_names():
                    maps[map_name] = open_map(site, map_name)
                for program in one.program_names():
                    programs[program] = Program.open(pins(site, "progs") / program)
    except NotFoundError:
        return None
    return Loaded(maps, programs, adopted=True)


def _load_all(
    site: NodeSite,
    config: DatapathConfig,
    capacities: Mapping[str, int],
    growing: Mapping[str, Map],
    objects: Path,
) -> Loaded:
    maps: dict[str, Map] = {}
    programs: dict[str, Program] = {}
    grown: dict[str, Map] = {}
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(BpfObject(_object_path(objects, n))) for n in OBJECT_NAMES]
        check_names(capacities, {name for one in opened for name in one.map_names()})
        for one in opened:
            new = _share_maps(site, one, capacities, growing, grown)
            if "config" in one.btf.variables(".rodata"):
                one.set_global("config", encode(config))
            one.load()
            for map_name in new:
                if map_name in growing:
                    grown[map_name] = one.maps[map_name]
                    fill(grown[map_name], growing[map_name])
                else:
                    one.maps[map_name].pin(pins(site, "maps") / map_name)
            maps.update(one.maps)
            programs.update(one.programs)
    install_rings(site, maps["event_rings"])
    replace_programs(site, programs)
    pin_in_place(pins(site, "maps"), grown)
    return Loaded(maps, programs, adopted=False)


def _share_maps(
    site: NodeSite,
    one: BpfObject,
    capacities: Mapping[str, int],
    growing: Mapping[str, Map],
    grown: Mapping[str, Map],
) -> list[str]:
    """Gives the object the maps that are there; the names of those it must make itself."""
    new = []
    for name in one.map_names():
        try:
            existing = grown.get(name) or Map.open(pins(site, "maps") / name)
        except NotFoundError:
            existing = None
        if existing is None or (name in growing and name not in grown):
            new.append(name)
            if name in capacities:
                one.resize(name, capacities[name])
            continue
        check_layout(existing, *one.btf.map_types(name))
        one.reuse(name, existing)
    return new


def check_layout(existing: Map, key: np.dtype[np.void] | None, value: object) -> None:
    """Refuses a pinned map whose rows have another size than the object declares.

    Raises:
        LayoutError: Names the map, both sizes and the remedy.
    """
    found = (existing.key.itemsize, existing.value.itemsize)
    declared = (
        key.itemsize if key is not None else found[0],
        value.itemsize if isinstance(value, np.dtype) else found[1],
    )
    if found != declared:
        raise layout.LayoutError(
            f"pinned map {existing.name}: key and value have {found} bytes, this version needs "
            f"{declared}: drain the node, then run `cilia lab down` or remove its pins"
        )


def replace_programs(site: NodeSite, programs: Mapping[str, Program]) -> None:
    """Puts programs in the place of their predecessors in every link, then pins them."""
    for pin in links(site):
        name = link_program(pin)
        if name in programs:
            with contextlib.suppress(NotFoundError), Link.open(pin) as link:
                if link.facts().ifindex or link.facts().cgroup_id:
                    link.update(programs[name])
    folder = pins(site, "progs")
    for name, program in programs.items():
        fresh = folder / f"{name}_new"
        fresh.unlink(missing_ok=True)
        program.pin(fresh)
        os.rename(fresh, folder / name)


def links(site: NodeSite) -> list[Path]:
    """Pins of all links of the node."""
    folder = pins(site, "links")
    return sorted(folder.iterdir()) if folder.exists() else []


def link_program(pin: Path) -> str:
    """Name of the program of a link's pin: `lxc0_pod_from` is of `pod_from`."""
    for prefix in OBJECT_NAMES:
        _, found, rest = pin.name.rpartition(f"_{prefix}_")
        if found:
            return f"{prefix}_{rest}"
    return ""


def open_map(site: NodeSite, name: str) -> Map:
    """A pinned map of the node with its dtypes.

    Raises:
        NotFoundError: The datapath is not loaded.
        LayoutError: It is another version's.
    """
    key, value = layout.map_types(name)
    found = Map.open(pins(site, "maps") / name)
    if found.kind is MapKind.RINGBUF:  # it has neither key nor value
        return found
    check_layout(found, key, value)
    found.close()
    return Map.open(pins(site, "maps") / name, key, value)


def install_rings(site: NodeSite, outer: Map) -> None:
    """Makes the event ring of each CPU that has none, and shows it to the programs."""
    for cpu in range(min(possible_cpus(), outer.max_entries)):
        path = pins(site, "rings") / str(cpu)
        try:
            ring = Map.open(path)
        except NotFoundError:
            nothing = np.dtype("V1")
            ring = Map.create(MapKind.RINGBUF, f"ring_{cpu}", nothing, nothing, RING_BYTES)
            ring.pin(path)
        if outer.lookup(cpu) != ring.id:
            outer.update(cpu, ring.fd)


def rings(site: NodeSite) -> Iterator[tuple[int, Map]]:
    """The node's event rings, by CPU."""
    folder = pins(site, "rings")
    for path in sorted(folder.iterdir(), key=lambda one: int(one.name)):
        yield int(path.name), Map.open(path)


def unload(site: NodeSite) -> None:
    """Removes every pin of the node: programs detach, maps go with what used them last."""
    for kind in ("links", "progs", "rings", "maps"):
        folder = pins(site, kind)
        for path in folder.iterdir() if folder.exists() else ():
            path.unlink()
        if folder.exists():
            folder.rmdir()
    _stamp_file(site).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        site.bpffs.rmdir()
