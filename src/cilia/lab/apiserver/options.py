"""Query parameters of writes, and the warnings that an answer carries."""

from collections.abc import Mapping

import msgspec

from .errors import Cause, StatusError, bad_request, invalid

_VALIDATIONS = ("Ignore", "Warn", "Strict")


class WriteOptions(msgspec.Struct, frozen=True):
    """How a create, update, patch or delete is to be done."""

    dry_run: bool = False
    manager: str = "unknown"
    """Field manager, for server-side apply."""
    validation: str = "Warn"
    """What an unknown field is: ignored, a warning, or an error."""
    force: bool = False
    """Whether an apply takes fields over from other managers."""
    warnings: list[str] = msgspec.field(default_factory=list)
    """Filled while the request is worked on."""


def write_options(query: Mapping[str, str], user_agent: str) -> WriteOptions:
    """Reads the options of a write.

    Raises:
        StatusError: A value is not one of those that exist (400, 422).
    """
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise _unsupported("dryRun", dry_run, ("All",))
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in _VALIDATIONS:
        raise _unsupported("fieldValidation", validation, _VALIDATIONS)
    manager = query.get("fieldManager", "") or user_agent.split("/")[0] or "unknown"
    if len(manager) > 128:
        raise bad_request("fieldManager: may not be more than 128 bytes long")
    return WriteOptions(
        dry_run=dry_run == "All",
        manager=manager,
        validation=validation,
        force=query.get("force", "") in ("true", "1"),
    )


def _unsupported(field: str, value: str, supported: tuple[str, ...]) -> StatusError:
    known = ", ".join(f'"{word}"' for word in supported)
    text = f'Unsupported value: "{value}": supported values: {known}'
    return invalid(
        "meta.k8s.io", "CreateOptions", "", [Cause("FieldValueNotSupported", text, field)]
    )
