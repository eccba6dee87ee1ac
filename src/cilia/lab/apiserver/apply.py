"""Server-side apply."""

from .errors import Json
from .options import WriteOptions
from .patch import merge_patch


def apply_patch(
    old: Json | None, config: Json, schema: Json, options: WriteOptions, part: str
) -> tuple[Json, list[Json]]:
    """The object with a manager's configuration merged in."""
    return merge_patch(old or {}, config), []


def record_update(old: Json, item: Json, schema: Json, options: WriteOptions, part: str) -> None:
    """Moves the ownership of changed fields to the manager of an update."""
