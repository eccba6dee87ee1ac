"""Settings: declared as frozen structs, merged from four places, each value traced.

A room declares a `msgspec.Struct(frozen=True)` whose fields all have defaults; a
flag's help is the text given with `setting(default, "what it does")`. Later places
win: defaults < file < environment < flags.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from cilia.model.errors import CiliaError

Declared = TypeVar("Declared", bound=msgspec.Struct)

PREFIX = "CILIA_"


class SettingsError(CiliaError):
    """A setting is unknown or its value is not what it must be."""


class Sourced(msgspec.Struct, Generic[Declared], frozen=True):
    """Settings, and where each came from."""

    values: Declared
    origins: dict[str, str]
    """Setting name (with dashes) to `default`, `file PATH`, `environment` or `flag`."""


def load_settings(
    declared: type[Declared],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> Sourced[Declared]:
    """Returns the settings that apply.

    Args:
        declared: The struct; nested structs cannot be set by environment or flag.
        file: JSON object of settings by name (dashes or underscores).
        environment: Variables; `CILIA_ENABLE_IPV4=false` sets `enable_ipv4`.
        flags: `--enable-ipv4=false`, or `--enable-ipv4 false`. Lists are written `a,b`
            and tables `name=value,name=value`, here and in variables.

    Raises:
        SettingsError: names what, where, and what would be right.
    """
    fields = {field.name: field for field in msgspec.structs.fields(declared)}
    origins = dict.fromkeys(fields, "default")
    merged: dict[str, Any] = {}

    def put(name: str, value: Any, origin: str, *, is_text: bool = False) -> None:
        member = name.replace("-", "_")
        if member not in fields:
            raise SettingsError(
                f"setting {name} ({origin}) is unknown; known are: "
                + ", ".join(sorted(known.replace("_", "-") for known in fields))
            )
        try:
            strict = not (is_text or isinstance(value, str))
            merged[member] = msgspec.convert(value, fields[member].type, strict=strict)
        except msgspec.ValidationError as error:
            raise SettingsError(f"setting {name} ({origin}) is {value!r}: {error}") from error
        origins[member] = origin

    for name, value in _read(file).items():
        put(name, value, f"file {file}")
    for variable, text in (environment or {}).items():
        member = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and member in fields:
            put(member, _from_text(text, fields[member].type), "environment", is_text=True)
    for name, text in _parse_flags(flags):
        member = name.replace("-", "_")
        value = _from_text(text, fields[member].type) if member in fields else text
        put(name, value, "flag", is_text=True)
    try:
        values = declared(**merged)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"settings: {error}") from error
    return Sourced(values, {name.replace("_", "-"): origin for name, origin in origins.items()})


def render_settings(sourced: Sourced[Any]) -> dict[str, tuple[Any, str]]:
    """Returns each setting's value (as JSON has it) and origin, by name."""
    plain: dict[str, Any] = msgspec.to_builtins(sourced.values, enc_hook=str)
    return {
        name: (plain[name.replace("-", "_")], origin) for name, origin in sourced.origins.items()
    }


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise SettingsError(f"read settings {file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise SettingsError(f"read settings {file}: not a JSON object: {error}") from error


def _parse_flags(flags: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    words = iter(flags)
    for word in words:
        if not word.startswith("--"):
            raise SettingsError(f"argument {word!r} is not understood; write --name=value")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = next(words, "")
            if not value or value.startswith("--"):
                raise SettingsError(f"flag --{name} has no value; write --{name}=value")
        found.append((name, value))
    return found


def _from_text(text: str, kind: Any) -> Any:
    """Returns text as the JSON value it writes where the type is not plain text."""
    parts = [part for part in text.split(",") if part]
    if "tuple" in str(kind) or "list" in str(kind):
        return parts
    if "dict" in str(kind) and all("=" in part for part in parts):
        return dict(part.split("=", 1) for part in parts)
    return text
