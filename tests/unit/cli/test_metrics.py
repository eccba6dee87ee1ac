"""`cilia metrics list`: values to rows."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.cli.commands.metrics import metric_rows, quantiles_text


def sample(name: str, value: float, **labels: str) -> dict[str, object]:
    return {"name": name, "value": value, "labels": labels}


def test_what_is_timed_is_one_row_among_the_others() -> None:
    rows = metric_rows(
        [
            sample("up", 1),
            sample("delay_bucket", 1, le="0.5", way="in"),
            sample("delay_bucket", 2, le="+Inf", way="in"),
            sample("delay_count", 2, way="in"),
            sample("delay_sum", 9, way="in"),
            sample("drops_total", 2, way="out", reason="Policy denied"),
        ]
    )
    assert rows == [
        ["up", "", "1.000000"],
        ["delay", "way=in", "2 times: 500ms / > 500ms / > 500ms"],
        ["drops_total", "reason=Policy denied way=out", "2.000000"],
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.5, 1.0, 5.0, math.inf]), min_size=1))
def test_quantiles_are_those_of_a_sorted_list(seen: list[float]) -> None:
    limits = [0.1, 0.5, 1.0, 5.0, math.inf]
    buckets = {limit: float(sum(each <= limit for each in seen)) for limit in limits}
    ordered = sorted(seen)
    found = []
    for share in (0.5, 0.9, 0.99):
        one = ordered[math.ceil(share * len(ordered)) - 1]
        found.append("> 5s" if one == math.inf else f"{one * 1000:g}ms" if one < 1 else f"{one:g}s")
    assert quantiles_text(buckets) == f"{len(seen)} times: {' / '.join(found)}"
