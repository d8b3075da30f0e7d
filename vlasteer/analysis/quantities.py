"""What is measured of an episode, with unit and definition: the one list that tables, plots and verdicts share.

Motion itself is defined in `vlasteer.measures`; here it gets the units in which people read it (mm, mm/s).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vlasteer.comparison import EpisodeMotion


@dataclass(frozen=True)
class Quantity:
    """One measured quantity.

    Attributes:
        key: as in tables: "step_length_mm".
        name: for people, without the unit.
        unit: "mm", "mm/s", "s", "%", "steps".
        about: its definition in a sentence.
        motion: whether it needs the end effector's position, and can be taken of the first steps of an episode.
    """

    key: str
    name: str
    unit: str
    about: str
    motion: bool = True

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})"


_ALL = (
    Quantity("success", "success", "%", "Share of episodes in which the world says that the task is done.", False),
    Quantity("steps", "length", "steps", "Control steps until success or the step limit.", False),
    Quantity("duration_s", "duration", "s", "The same in seconds, at the control rate.", False),
    Quantity("step_length_mm", "step length", "mm", "Mean distance that the end effector moves in a control step."),
    Quantity("dx_mm", "|dx| per step", "mm", "Mean size of its x part."),
    Quantity("dy_mm", "|dy| per step", "mm", "Mean size of its y part."),
    Quantity("dz_mm", "|dz| per step", "mm", "Mean size of its z part (up and down alike)."),
    Quantity("rise_mm", "rise per step", "mm", "Mean of dz with its sign: up is positive."),
    Quantity("commanded_mm", "commanded step", "mm", "Mean length of the translation that was commanded."),
    Quantity("path_length_mm", "path length", "mm", "Sum of the steps' lengths."),
    Quantity("mean_speed_mm_s", "mean speed", "mm/s", "Path length over duration."),
    Quantity("peak_speed_mm_s", "peak speed", "mm/s", "Length of the longest step over the control period."),
    Quantity("peak_height_mm", "peak height", "mm", "Largest z; its zero is the world's."),
    Quantity("lowest_height_mm", "lowest height", "mm", "Smallest z."),
    Quantity(
        "non_action_tokens",
        "non-action tokens",
        "%",
        "Share of generated tokens that are no action (they decode to +1): a sign of over-steering.",
        False,
    ),
)

QUANTITIES: Mapping[str, Quantity] = MappingProxyType({quantity.key: quantity for quantity in _ALL})
"""By key, in the order in which they are shown."""


def motion_quantities(motion: EpisodeMotion, steps: int | None = None) -> dict[str, float]:
    """The quantities with `motion`, of the first `steps` positions (None: all)."""
    measured = motion.motion(steps)
    dx, dy, dz = (1e3 * np.array(measured.mean_step_m)).tolist()
    return {
        "step_length_mm": 1e3 * measured.mean_step_length_m,
        "dx_mm": dx,
        "dy_mm": dy,
        "dz_mm": dz,
        "rise_mm": 1e3 * measured.displacement_m[2] / measured.steps,
        "commanded_mm": 1e3 * motion.commanded_length(steps),
        "path_length_mm": 1e3 * measured.path_length_m,
        "mean_speed_mm_s": 1e3 * measured.mean_speed_m_s,
        "peak_speed_mm_s": 1e3 * measured.peak_speed_m_s,
        "peak_height_mm": 1e3 * measured.peak_height_m,
        "lowest_height_mm": 1e3 * measured.lowest_height_m,
    }
