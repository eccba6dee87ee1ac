"""YAML files as documents that know their file and line."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from cilia.model.errors import InvalidValue, PolicyError

# The C parser is an order of magnitude faster, and not everywhere.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PATH = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
SUFFIXES = (".yaml", ".yml", ".json")


class BrokenInput(InvalidValue):
    """A file that cannot be used: which one, which field, and the remedy."""


class Document(msgspec.Struct, frozen=True):
    """One document of a file."""

    file: str
    content: object
    node: yaml.Node
    """Where in the file each part of it is."""

    @property
    def place(self) -> str:
        """`file:line` of its start."""
        return self.place_of("")

    def place_of(self, path: str) -> str:
        """`file:line` of a field, as `spec.ingress[0]`, or of what should contain it."""
        node, line = self.node, self.node.start_mark.line
        for name, index in path_steps(path):
            below = _below(node, name, index)
            if below is None:
                break
            line = _line_of(node, name, below)
            node = below
        return f"{self.file}:{line + 1}"

    def broken(self, error: PolicyError) -> BrokenInput:
        """The error that something in this document is wrong."""
        return BrokenInput(f"{self.place_of(error.path)}: {error}")


def path_steps(path: str) -> list[tuple[str, str]]:
    """A field path as (member, "") and ("", index), from the outside in.

    >>> path_steps("spec.ingress[0]")
    [('spec', ''), ('ingress', ''), ('', '0')]
    """
    return _PATH.findall(path)


def _below(node: yaml.Node, name: str, index: str) -> yaml.Node | None:
    """A member or an item."""
    if isinstance(node, yaml.SequenceNode) and index:
        return node.value[int(index)] if int(index) < len(node.value) else None
    if isinstance(node, yaml.MappingNode) and name:
        for key, value in node.value:
            if key.value == name:
                return value if isinstance(value, yaml.CollectionNode) else key
    return None


def _line_of(node: yaml.Node, name: str, below: yaml.Node) -> int:
    """The line of a member or an item: a member's is its key's, where people look for it."""
    if name and isinstance(node, yaml.MappingNode):
        return next(
            (key.start_mark.line for key, _ in node.value if key.value == name),
            below.start_mark.line,
        )
    return below.start_mark.line


def parse_documents(text: str, file: str) -> Iterator[Document]:
    """The documents of a YAML text that are not empty; the items of a List each on its own.

    Raises:
        BrokenInput: It is not YAML.
    """
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None, "check_node has seen one"
            content = loader.construct_document(node)
            if isinstance(content, dict) and content.get("kind") == "List":
                items = _below(node, "items", "")
                for index, item in enumerate(content.get("items") or ()):
                    below = _below(items, "", str(index)) if items else None
                    yield Document(file, item, below or node)
            elif content is not None:
                yield Document(file, content, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise BrokenInput(f"{where}: not YAML: {error.problem}; correct the line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BrokenInput(f"{file}: not YAML: {error}") from None
    finally:
        loader.dispose()


def read_documents(path: Path) -> list[Document]:
    """The documents of a file.

    Raises:
        BrokenInput: It cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenInput(f"{path}: cannot be read: {error}") from None
    return list(parse_documents(text, str(path)))


def manifest_files(path: Path) -> list[Path]:
    """The YAML files of a folder and its subfolders in order; a file is itself."""
    if not path.is_dir():
        return [path]
    found = [p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file()]
    return sorted(p for p in found if p.stem != "cases")
