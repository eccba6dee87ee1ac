"""Rules that an object must keep, per kind."""

from cilia.lab.apiserver.crd import KEY as DEFINITIONS
from cilia.lab.apiserver.crd import definition_causes
from cilia.lab.apiserver.errors import Json, invalid
from cilia.lab.apiserver.resources import Resource


def validate(resource: Resource, item: Json, old: Json | None) -> None:
    """Refuses an object that breaks its kind's rules (422)."""
    causes = []
    if resource.key == DEFINITIONS:
        causes += definition_causes(item)
    if causes:
        raise invalid(resource.group, resource.kind, str(item["metadata"].get("name", "")), causes)
