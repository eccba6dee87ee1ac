"""Policies from a folder: followed, refused with file and line, never lost to a typo."""

import asyncio
import os

import msgspec
import pytest

from cilia.model.rules import PolicyKey
from cilia.policy.directory import PolicyDirectory
from cilia.policy.syntax.context import Context
from cilia.state.tables import Tables

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: {name}
spec:
  endpointSelector: {{}}
  {field}:
  - fromEntities: [all]
  - fromEndpoints:
    - {{}}
"""


class Clock:
    """Time that goes on when the test says so."""

    def __init__(self):
        self.asleep, self.go = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds):
        self.go.clear()
        self.asleep.set()
        await self.go.wait()


class Folder:
    def __init__(self, path):
        tables = Tables()
        self.path, self.table, self.groups = path, tables.policies, tables.cidr_groups
        self.source = PolicyDirectory(path, self.table, self.groups, Clock(), Context())
        self.writes = 0

    def write(self, file, name, field="ingress", more=""):
        self.writes += 1
        target = self.path / file
        target.write_text(POLICY.format(name=name, field=field) + more)
        os.utime(target, ns=(self.writes, self.writes))
        self.source.read()

    def names(self):
        return sorted(row.name for row in self.table)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_files_come_change_and_go(folder):
    folder.write("a.yaml", "one")
    folder.write("b.yaml", "two")
    assert folder.names() == ["one", "two"]
    folder.write("a.yaml", "three")
    assert folder.names() == ["three", "two"]
    (folder.path / "b.yaml").unlink()
    folder.source.read()
    assert folder.names() == ["three"]


def test_a_broken_file_names_the_line_and_leaves_what_it_said(folder):
    folder.write("a.yaml", "one")
    before = list(folder.table)
    folder.write("a.yaml", "one", field="ingres")
    assert list(folder.table) == before
    (error,) = folder.source.errors.values()
    assert error.startswith(f"{folder.path / 'a.yaml'}:7: ")
    assert "did you mean ingress" in error
    ((place, why),) = folder.source.refusals()
    assert place == f"{folder.path / 'a.yaml'}:7"
    assert why.startswith("CiliumNetworkPolicy default/one (file): spec.ingres: ")
    folder.write("a.yaml", "one")
    assert folder.source.errors == {}


GROUP = """\
---
kind: CiliumCIDRGroup
metadata:
  name: offices
  labels: {site: berlin}
spec:
  externalCIDRs:
  - 192.0.2.0/24
  - %s
"""


def test_groups_come_change_and_go_with_their_file(folder):
    folder.write("a.yaml", "one", more=GROUP % "2001:db8::/32")
    (group,) = folder.groups
    assert (group.name, group.labels) == ("offices", (("site", "berlin"),))
    assert group.cidrs == ("192.0.2.0/24", "2001:db8::/32")
    folder.write("a.yaml", "one", more=GROUP % "2001:db8::/129")
    assert list(folder.groups) == [group]
    ((place, why),) = folder.source.refusals()
    assert place == f"{folder.path / 'a.yaml'}:19"
    assert "spec.externalCIDRs[1]" in why
    assert "is not a prefix" in why
    folder.write("a.yaml", "one")
    assert list(folder.groups) == []
    assert folder.names() == ["one"]


def test_an_applied_group_of_the_same_name_stays_beside_the_files(folder):
    folder.write("a.yaml", "one", more=GROUP % "2001:db8::/32")
    (held,) = folder.groups
    applied = msgspec.structs.replace(held, source="", cidrs=("198.51.100.0/24",))
    folder.groups.upsert(applied)
    folder.write("a.yaml", "one")
    assert list(folder.groups) == [applied]


def test_a_rule_has_a_place(folder):
    folder.write("a.yaml", "one")
    key = PolicyKey("CiliumNetworkPolicy", "default", "one", "file")
    assert folder.source.place(key, "spec.ingress[1]") == f"{folder.path / 'a.yaml'}:9"
    assert folder.source.place(PolicyKey("NetworkPolicy", "default", "x"), "spec") == ""


def test_what_nobody_touched_is_not_written_again(folder):
    folder.write("a.yaml", "one")
    revision = folder.table.revision
    folder.source.read()
    assert folder.table.revision == revision


def test_an_object_of_the_same_name_stays_beside_the_file(folder):
    folder.write("a.yaml", "one")
    (row,) = folder.table
    applied = msgspec.structs.replace(row, uid="u", source="")
    folder.table.upsert(applied)
    folder.write("a.yaml", "one", more="# again\n")
    assert {each.source for each in folder.table} == {"", "file"}
    (folder.path / "a.yaml").unlink()
    folder.source.read()
    assert list(folder.table) == [applied]


def test_a_folder_that_goes_away_as_a_whole_leaves_what_it_said(folder):
    folder.write("a.yaml", "one")
    away = folder.path.rename(folder.path.with_name("away"))
    folder.source.read()
    assert folder.names() == ["one"]
    assert "not there" in folder.source.errors[folder.path]
    away.rename(folder.path)
    folder.source.read()
    assert (folder.names(), folder.source.errors) == (["one"], {})
    (folder.path / "a.yaml").unlink()
    folder.source.read()
    assert folder.names() == []


def test_hidden_files_and_other_names_do_not_count(folder):
    folder.write(".hidden.yaml", "one")
    folder.write("note.txt", "two")
    assert folder.names() == []


def test_of_two_files_with_one_policy_the_first_is_in_force(folder):
    folder.write("a.yaml", "one")
    folder.write("b.yaml", "one")
    assert folder.names() == ["one"]
    assert "already" in folder.source.errors[folder.path / "b.yaml"]
    (folder.path / "a.yaml").unlink()
    folder.source.read()
    assert folder.names() == ["one"]
    assert folder.source.errors == {}


def test_the_service_reads_again_when_time_goes_on(tmp_path):
    async def main():
        folder = Folder(tmp_path)
        clock = Clock()
        source = PolicyDirectory(tmp_path, folder.table, folder.groups, clock, Context())
        (tmp_path / "a.yaml").write_text(POLICY.format(name="one", field="ingress"))
        ready = asyncio.Event()
        task = asyncio.create_task(source.run(ready))
        async with asyncio.timeout(10):
            await ready.wait()
            assert folder.names() == ["one"]
            await clock.asleep.wait()
            (tmp_path / "b.yaml").write_text(POLICY.format(name="two", field="ingress"))
            clock.asleep.clear()
            clock.go.set()
            await clock.asleep.wait()
        assert folder.names() == ["one", "two"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
