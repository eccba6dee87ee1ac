"""`Table` answers: what `kubectl get` prints, for every kind.

Source:
    https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from typing import Any

from cilia.lab.apiserver.errors import Json
from cilia.lab.apiserver.resources import Resource

from .cells import Printer, age
from .cluster import PRINTERS as CLUSTER
from .defined import defined_printer
from .pods import PRINTERS as PODS
from .services import PRINTERS as SERVICES
from .workloads import PRINTERS as WORKLOADS

_PRINTERS: dict[str, Printer] = CLUSTER | PODS | SERVICES | WORKLOADS
_PLAIN = Printer([("Age", "string", 0)], lambda item: [age(item)])
_NAME_DESCRIPTION = "Name of the object, unique in its namespace."


def _printer(resource: Resource) -> Printer:
    if resource.columns is not None:
        return defined_printer(resource.columns)
    return _PRINTERS.get(resource.key, _PLAIN)


def column_definitions(resource: Resource) -> list[Json]:
    """The columns of a resource, the name first."""
    definitions: list[Json] = [
        {
            "name": "Name",
            "type": "string",
            "format": "name",
            "description": _NAME_DESCRIPTION,
            "priority": 0,
        }
    ]
    for name, kind, priority in _printer(resource).columns:
        definitions.append(
            {"name": name, "type": kind, "format": "", "description": "", "priority": priority}
        )
    return definitions


def table(
    resource: Resource,
    items: list[Json],
    *,
    metadata: Json,
    include: str = "Metadata",
    header: bool = True,
) -> Json:
    """A `meta.k8s.io/v1` Table.

    Args:
        resource: What the items are.
        items: The rows' objects.
        metadata: List metadata (`resourceVersion`, `continue`).
        include: What each row carries: `Metadata`, `Object` or `None`.
        header: Whether the column definitions are in it.
    """
    printer = _printer(resource)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": column_definitions(resource) if header else None,
        "rows": [
            {
                "cells": [item["metadata"]["name"], *printer.cells(item)],
                "object": _row_object(item, include),
            }
            for item in items
        ],
    }


def partial_metadata(item: Json) -> Json:
    """`PartialObjectMetadata` of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def _row_object(item: Json, include: str) -> Any:
    if include == "None":
        return None
    return item if include == "Object" else partial_metadata(item)
