"""deploy/grafana/dashboards.yaml to the dashboards that Grafana reads, one JSON file each.

The YAML says what a panel asks for; what Grafana wants besides (places, ids, data source) is
the same everywhere and is put in here. `--check` says whether the files are fresh.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deploy/grafana"
SOURCE = FOLDER / "dashboards.yaml"

WIDTH = 24
SIZES = {"stat": (4, 4), "timeseries": (8, 8), "table": (12, 8)}
"""Width and height in Grafana's grid."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def dashboard(source: Json, shared: Json) -> Json:
    """One dashboard, as Grafana imports it."""
    variables = [_datasource(), *(_variable(shared[name], name) for name in source["variables"])]
    return {
        "uid": source["uid"],
        "title": source["title"],
        "description": source["description"],
        "tags": ["cilia"],
        "schemaVersion": 38,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels(source["rows"]),
    }


def _datasource() -> Json:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variable(source: Json, name: str) -> Json:
    return {
        "name": name,
        "label": source["label"],
        "type": "query",
        "datasource": DATASOURCE,
        "query": f"label_values({source['metric']}, {source['of']})",
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }


def panels(rows: list[Json]) -> list[Json]:
    """All panels, each below or right of the one before."""
    found: list[Json] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        found.append({"type": "row", "title": row["title"], "gridPos": place, "panels": []})
        top, left, lowest = top + 1, 0, 0
        for source in row["panels"]:
            width, height = SIZES[source.get("type", "timeseries")]
            if left + width > WIDTH:
                top, left, lowest = top + lowest, 0, 0
            found.append(panel(source, {"x": left, "y": top, "w": width, "h": height}))
            left, lowest = left + width, max(lowest, height)
        top += lowest
    return [{"id": number, **one} for number, one in enumerate(found, 1)]


def panel(source: Json, place: Json) -> Json:
    """One panel."""
    kind = source.get("type", "timeseries")
    targets = [
        {
            "refId": chr(ord("A") + at),
            "datasource": DATASOURCE,
            "expr": query["expr"],
            "legendFormat": query.get("legend", "__auto"),
            **({"instant": True, "format": "table"} if kind == "table" else {}),
        }
        for at, query in enumerate(source["queries"])
    ]
    made: Json = {
        "type": kind,
        "title": source["title"],
        "description": source.get("about", ""),
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": source.get("unit", "short")}, "overrides": []},
        "targets": targets,
    }
    if kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
    return made


def files() -> dict[Path, str]:
    """Every file and what it must say."""
    source = yaml.safe_load(SOURCE.read_text())
    return {
        FOLDER / f"{one['uid']}.json": json.dumps(dashboard(one, source["variables"]), indent=1)
        + "\n"
        for one in source["dashboards"]
    }


if __name__ == "__main__":
    stale = [
        path for path, text in files().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        sys.exit(f"stale: {stale}; run: python tools/dashboards.py" if stale else 0)
    for path, text in files().items():
        path.write_text(text)
