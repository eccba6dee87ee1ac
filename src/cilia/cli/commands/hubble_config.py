"""`cilia hubble config …`: the file of defaults."""

import importlib
from pathlib import Path
from typing import Any

import click

from cilia.cli.errors import ClientError
from cilia.cli.hubble.options import ServerFlags, read_config

OTHERS = ("output", "time-format", "color", "numeric", "ip-translation", "print-node-name")
KEYS = tuple(sorted({name.replace("_", "-") for name in ServerFlags.__struct_fields__} | {*OTHERS}))


def _path() -> Path:
    path = click.get_current_context().meta["hubble.config"]
    assert isinstance(path, Path)
    return path


def _checked(key: str) -> str:
    if key not in KEYS:
        raise ClientError(f"no setting {key!r}", f"one of {', '.join(KEYS)}")
    return key


def _write(values: dict[str, Any]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = importlib.import_module("yaml").safe_dump(values) if values else ""
    path.touch(mode=0o600)
    path.write_text(text)


@click.group()
def config() -> None:
    """Show and change the defaults of flags."""


@config.command()
def view() -> None:
    """Show the file."""
    values = read_config(_path())
    click.echo(importlib.import_module("yaml").safe_dump(values).rstrip() if values else "{}")


@config.command()
@click.argument("key", required=False)
def get(key: str | None) -> None:
    """Show one setting, or all."""
    values = read_config(_path())
    if key:
        click.echo(values.get(_checked(key), ""))
    else:
        for name in KEYS:
            click.echo(f"{name}: {values.get(name, '')}".rstrip())


@config.command(name="set")
@click.argument("key")
@click.argument("value", required=False)
def set_(key: str, value: str | None) -> None:
    """Set one; without a value it goes."""
    values = read_config(_path())
    if value is None:
        values.pop(_checked(key), None)
    else:
        values[_checked(key)] = value
    _write(values)


@config.command()
@click.argument("key", required=False)
def reset(key: str | None) -> None:
    """Forget one setting, or all."""
    values = read_config(_path()) if key else {}
    if key:
        values.pop(_checked(key), None)
    _write(values)
