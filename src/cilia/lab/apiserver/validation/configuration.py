"""Rules of configuration maps and secrets."""

import binascii
import re
from base64 import b64decode

from cilia.lab.apiserver.errors import Json

from .causes import Causes

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}\Z")
_MAX_BYTES = 1024 * 1024
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def check_config_map(causes: Causes, item: Json, old: Json | None) -> None:
    """Keys, size, and that an immutable one stays as it is."""
    _check_keys(causes, item, ("data", "binaryData"))
    for key in set(item.get("data") or {}) & set(item.get("binaryData") or {}):
        causes.invalid("data", key, "duplicate of key present in binaryData")
    _check_immutable(causes, item, old, ("data", "binaryData"))


def check_secret(causes: Causes, item: Json, old: Json | None) -> None:
    """Keys, encoding, size, type, and that an immutable one stays as it is."""
    _check_keys(causes, item, ("data",))
    for key, text in (item.get("data") or {}).items():
        try:
            b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            causes.invalid(f"data[{key}]", "<secret>", "must be base64")
    if old is not None:
        causes.immutable("type", item.get("type"), old.get("type"))
    _check_immutable(causes, item, old, ("data",))


def _check_keys(causes: Causes, item: Json, fields: tuple[str, ...]) -> None:
    size = 0
    for field in fields:
        for key, value in (item.get(field) or {}).items():
            size += len(value)
            if not _KEY.match(key) or key in (".", ".."):
                causes.invalid(f"{field}[{key}]", key, _KEY_TEXT)
    if size > _MAX_BYTES:
        causes.invalid(fields[0], "", f"Too long: may not be more than {_MAX_BYTES} bytes")


def _check_immutable(causes: Causes, item: Json, old: Json | None, fields: tuple[str, ...]) -> None:
    if old is None or not old.get("immutable"):
        return
    if not item.get("immutable"):
        causes.forbidden("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if item.get(field) != old.get(field):
            causes.forbidden(field, "field is immutable when `immutable` is set")
