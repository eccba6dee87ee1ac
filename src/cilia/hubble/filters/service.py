"""Fields about the service that a flow is for."""

from collections.abc import Sequence

import numpy as np

from cilia.hubble.filters.party import split_name
from cilia.hubble.filters.terms import Mask, Scene, Test, constant
from cilia.hubble.store import Rows


def service(side: str, values: Sequence[str], scene: Scene) -> Test:
    """`[namespace/]prefix` of its name; only destinations have one: what a socket asked for."""
    wanted = [split_name(f"{side}_service", value) for value in values]
    if side == "source":
        return constant(False)

    def test(rows: Rows) -> Mask:
        found = [
            number
            for number, row in enumerate(scene.store.services.rows)
            if row.name
            and any(
                namespace in ("", row.namespace) and row.name.startswith(prefix)
                for namespace, prefix in wanted
            )
        ]
        return np.isin(rows["service"], np.array(found, "u4"))

    return test
