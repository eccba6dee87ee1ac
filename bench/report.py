"""Numbers to a table, to docs/bench/<name>.json, and to a bar chart beside it."""

import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

Table = list[dict[str, object]]
"""Rows of a benchmark; those with the same fields are one table of the page."""
FOLDER = Path(__file__).parents[1] / "docs/bench"
BAR_HEIGHT, GAP, LEFT, WIDTH = 18, 8, 300, 420


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and spread of some rounds."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median_interval(values: Sequence[float]) -> dict[str, float]:
    """The median and its 95 % confidence interval, whatever the distribution.

    Source: the ranks of a binomial with p = 1/2, by its normal approximation.
    """
    ordered = sorted(values)
    count = len(ordered)
    rank = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return {
        "median": statistics.median(ordered),
        "low": ordered[rank],
        "high": ordered[count - 1 - rank],
    }


def save(name: str, command: str, rows: list[dict[str, object]]) -> None:
    """Keeps a benchmark's rows and what machine made them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {
        "command": command,
        "kernel": platform.release().split("-")[0],
        "cpus": len(os.sched_getaffinity(0)),
        "rows": rows,
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def bars(name: str, title: str, ratios: Sequence[tuple[str, float]]) -> None:
    """A bar chart of ratios with a line at 1, the baseline."""
    top = max([1.2, *(ratio for _, ratio in ratios)])
    scale = WIDTH / top
    height = (BAR_HEIGHT + GAP) * len(ratios) + 40
    size = f'width="{LEFT + WIDTH + 70}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for index, (label, ratio) in enumerate(ratios):
        y = 30 + index * (BAR_HEIGHT + GAP)
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{ratio * scale:.1f}" height="{BAR_HEIGHT}" '
            f'fill="#3b7dd8"/><text x="{LEFT + ratio * scale + 6:.1f}" y="{y + 13}">'
            f"{ratio:.2f}×</text>"
        )
    x = LEFT + scale
    parts.append(f'<line x1="{x:.1f}" y1="26" x2="{x:.1f}" y2="{height - 8}" stroke="#c33"/></svg>')
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.svg").write_text("\n".join(parts) + "\n")
