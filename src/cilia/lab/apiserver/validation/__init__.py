"""Rules that an object must keep, per kind."""

from ..crd import KEY as DEFINITIONS
from ..crd import definition_causes
from ..errors import Json, invalid
from ..resources import Resource


def validate(resource: Resource, item: Json, old: Json | None) -> None:
    """Refuses an object that breaks its kind's rules (422)."""
    causes = []
    if resource.key == DEFINITIONS:
        causes += definition_causes(item)
    if causes:
        raise invalid(resource.group, resource.kind, str(item["metadata"].get("name", "")), causes)
