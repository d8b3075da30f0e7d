"""Published figures of the battery, beside what was measured: for the published checkpoint, and for no other.

Source: Häon et al. 2025 (arXiv 2509.00328), read in third parties' notes of the paper: "second hand".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CHECKPOINT = "openvla-7b-finetuned-libero-10"
_SIZES, _COEFFICIENTS = (10, 20), (2.0, 4.0, 6.0, 8.0, 10.0, 20.0)
_UP = {"early": 0.007, "late": 0.086, "full": 0.098}

Row = Mapping[str, Any]


def is_published(policy: str) -> bool:
    """Whether a policy is the checkpoint that the figures are of, by its name."""
    return policy.rstrip("/").rsplit("/", 1)[-1] == CHECKPOINT


def beside_published(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """What was measured, the published figure, ours."""
    fast, slow = (
        [row["mean"] for row in _cells(rows, "fast and slow", "commanded step (mm)") if row["concept"] == concept]
        for concept in ("fast", "slow")
    )
    table = []
    if fast and slow:
        table.append(
            (
                "fast against slow, mean commanded step over the grid (H6)",
                "+27.7 % (second hand); a replication +26.3 %, at equal length +15.7 %",
                f"{100 * (np.mean(fast) / np.mean(slow) - 1):+.1f} % (at equal length)",
            )
        )
    for depth, published in _UP.items():
        ours = [row for row in _cells(rows, "up by depth", "commanded dz (mm)") if row["depth"] == depth]
        if ours:
            table.append(
                (
                    f"up, {depth} layers, mean displacement (H7)",
                    f"{published} (second hand; the axis is called Y, its unit is not stated)",
                    f"dz {np.mean([row['difference'] for row in ours]):+.3f} mm a step",
                )
            )
    table.append(("success rate of every cell (H10)", "not published", "see the tables"))
    return table


def _cells(rows: Sequence[Row], study: str, measure: str) -> list[Row]:
    return [
        row
        for row in rows
        if row["study"] == study
        and row["measure"] == measure
        and row["size"] in _SIZES
        and row["coefficient"] in _COEFFICIENTS
    ]
