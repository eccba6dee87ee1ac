"""Policies and the groups that they refer to from a folder of YAML files, without Kubernetes.

A file is taken whole or not at all: while it is broken, what it said last stays in
force, and `errors` says why, with file and line. A file that goes takes along what it said.
"""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import astuple

from cilia.model.errors import PolicyError
from cilia.model.rules import FILE, PolicyKey
from cilia.policy.sources import parse_policy
from cilia.policy.syntax.context import Context
from cilia.policy.syntax.groups import GROUP, parse_group
from cilia.policy.trial.documents import SUFFIXES, BrokenInput, Document, read_documents
from cilia.runtime.table import Table
from cilia.state.cidr_groups import CidrGroup
from cilia.state.policies import PolicyObject

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often the folder is looked at: folders of a kubelet change by links, which no watch sees."""

Stamp = tuple[int, int, int]
Documents = dict[PolicyKey, Document]


class Sleeper(Protocol):
    """What tells the time; runtime's Clock is one."""

    async def sleep(self, seconds: float) -> None:
        """Returns when so many seconds have gone by."""
        ...


class PolicyDirectory:
    """Keeps two tables as the files of one folder are, beside what others put there.

    Args:
        folder: Looked at with its subfolders.
        table: Of policies.
        groups: Of CiliumCIDRGroups.
        clock: When to look again.
        context: What policies are read with.
    """

    name = "policy directory"

    def __init__(
        self,
        folder: Path,
        table: Table[PolicyObject],
        groups: Table[CidrGroup],
        clock: Sleeper,
        context: Context,
    ) -> None:
        self._broken: dict[Path, str] = {}
        self._twice: dict[Path, str] = {}
        self._folder = folder
        self._table = table
        self._groups = groups
        self._clock = clock
        self._context = context
        self._stamps: dict[Path, Stamp] = {}
        self._good: dict[Path, Documents] = {}
        self._places: Documents = {}
        self._generation = 0

    @property
    def errors(self) -> dict[Path, str]:
        """For each file that is not in force as it is now, why; it names the line."""
        return self._twice | self._broken

    def refusals(self) -> list[tuple[str, str]]:
        """(`file:line`, why) of each file that is not in force as it is now, in order."""
        found = []
        for path, text in sorted(self.errors.items()):
            line, _, why = text.removeprefix(str(path)).partition(": ")
            found.append((f"{path}{line}", why))
        return found

    async def run(self, ready: asyncio.Event) -> None:
        """Follows the folder until cancelled; ready when it has been read once."""
        self.read()
        ready.set()
        while True:
            await self._clock.sleep(POLL_S)
            self.read()

    def read(self) -> None:
        """Takes over what has changed in the folder since the last call.

        A folder that is not there as a whole, moved away or not mounted, says nothing: what
        its files said last stays in force.
        """
        if not self._is_there():
            return
        stamps = self._look()
        changed = [path for path, stamp in stamps.items() if self._stamps.get(path) != stamp]
        gone = self._stamps.keys() - stamps.keys()
        self._stamps = stamps
        for path in gone:
            self._good.pop(path, None)
            self._broken.pop(path, None)
        for path in changed:
            self._read_file(path)
        if changed or gone:
            self._tell()

    def place(self, key: PolicyKey, path: str) -> str:
        """`file:line` of a field of a policy, as `spec.ingress[0]`; empty if it is not ours."""
        document = self._places.get(key)
        return document.place_of(path) if document is not None else ""

    def _is_there(self) -> bool:
        if self._folder.is_dir():
            self._broken.pop(self._folder, None)
            return True
        if self._folder not in self._broken:
            why = f"{self._folder}: not there; what its files said last stays in force"
            self._broken[self._folder] = why
            log.error("policy folder is gone", extra={"folder": str(self._folder)})
        return False

    def _look(self) -> dict[Path, Stamp]:
        """The files that count, in order, each with what changes when it does."""
        stamps: dict[Path, Stamp] = {}
        for path in sorted(self._folder.rglob("*")):
            parts = path.relative_to(self._folder).parts
            if path.suffix not in SUFFIXES or any(part.startswith(".") for part in parts):
                continue
            try:
                found = path.stat()
            except OSError:
                continue
            stamps[path] = (found.st_mtime_ns, found.st_size, found.st_ino)
        return stamps

    def _read_file(self, path: Path) -> None:
        try:
            self._good[path] = self._parsed(path)
            self._broken.pop(path, None)
        except BrokenInput as error:
            self._broken[path] = str(error)
            log.error("policy file refused", extra={"file": str(path), "error": str(error)})

    def _parsed(self, path: Path) -> Documents:
        found: Documents = {}
        for document in read_documents(path):
            try:
                key = self._key(document)
            except PolicyError as error:
                raise document.broken(error) from None
            if key in found:
                raise BrokenInput(f"{document.place}: {key} is there twice; name one of them anew")
            found[key] = document
        return found

    def _key(self, document: Document) -> PolicyKey:
        content = document.content
        if isinstance(content, dict) and content.get("kind") == GROUP:
            return PolicyKey(GROUP, "", parse_group(content).name, FILE)
        return parse_policy(content, self._context, FILE).key

    def _tell(self) -> None:
        """Makes the tables say what the files do; of two files that name one object, the first."""
        self._generation += 1
        self._twice.clear()
        places: Documents = {}
        for path in sorted(self._good):
            for key, document in self._good[path].items():
                if places.setdefault(key, document) is not document:
                    first = places[key].place
                    self._twice[path] = f"{document.place}: {key} is in {first} already"
                    log.error("policy twice", extra={"error": self._twice[path]})
        fresh = {key: one for key, one in places.items() if self._places.get(key) is not one}
        gone = self._places.keys() - places.keys()
        self._groups.upsert(*[_group(one) for key, one in fresh.items() if key.kind == GROUP])
        self._table.upsert(
            *[_row(key, one, self._generation) for key, one in fresh.items() if key.kind != GROUP]
        )
        self._table.delete(*[astuple(key) for key in gone if key.kind != GROUP])
        self._groups.delete(*[(key.name, key.source) for key in gone if key.kind == GROUP])
        self._places = places


def _group(document: Document) -> CidrGroup:
    group = parse_group(document.content)
    return CidrGroup(group.name, group.labels, group.cidrs, FILE)


def _row(key: PolicyKey, document: Document, generation: int) -> PolicyObject:
    text = msgspec.json.encode(document.content)
    return PolicyObject(
        key.kind, key.namespace, key.name, document.place, generation, text, key.source
    )
