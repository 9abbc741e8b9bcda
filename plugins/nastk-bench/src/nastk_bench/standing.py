"""Where one member stands among all."""

from __future__ import annotations

from typing import Any

import numpy as np

from nastk_bench.protocol import MEASURED
from nastk_bench.table import STATUSES, Table


def standing(table: Table, codes: str) -> dict[str, Any]:
    """Return means over seeds, failed trainings, and rank and regret by log FD, as JSON data.

    Args:
        table: looked at.
        codes: integer codes of any genotype of a member.

    Raises:
        SpaceError: no codes of the space, or no member of the table.
    """
    row = table.row(table.space.parse(codes))
    failed = int((table.status[row, :, -1] != STATUSES.index("ok")).sum())
    found: dict[str, Any] = {
        "codes": table.codes[row],
        "trainings": table.seeds,
        "failed": failed,
        "parameters": int(table.parameters[row]),
        "macs": int(table.macs[row]),
    }
    for split in ("validation", "test"):
        for name in MEASURED:
            found[f"{name} ({split})"] = _number(table.scores(name, split)[row].mean())
    test = table.scores(split="test").mean(1)
    found["rank (test)"] = None if failed else int((test < test[row]).sum()) + 1
    found["members"] = len(table.codes)
    found["regret (test)"] = _number(test[row] - np.nanmin(test))
    return found


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
