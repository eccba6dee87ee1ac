"""What the panels of the dashboards ask for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy/grafana").glob("*.json"))
VARIABLES = {"$__rate_interval": "1m"}


def panels(path: Path) -> Iterator[dict[str, Any]]:
    yield from (one for one in json.loads(path.read_text())["panels"] if one["type"] != "row")


def panel_expressions() -> list[tuple[str, str]]:
    """Each expression of a dashboard with its place, variables as Grafana would put them in."""
    found = []
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in VARIABLES.items():
                    expression = expression.replace(name, value)
                expression = re.sub(r"\$[a-z_]+", ".*", expression)
                found.append((f"{path.stem}: {panel['title']}", expression))
    return found
