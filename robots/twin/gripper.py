"""Robotiq 2F gripper as its URCap offers it on port 63352: lines of ASCII, `GET name` and `SET name value ...`.

Source: Robotiq's 2F-85 manual (register meanings) and clients of the URCap's socket. `SET` answers `ack` without a
newline, `GET POS` answers `POS 3` with one; while the tool has no power `GET` answers `POS ?`. Approximations:
activation takes half a second and moves nothing; positions 0 to 255 span the whole stroke (a real one reports about 3
to 230); automatic release and most faults are missing.
"""

from __future__ import annotations

from vlasteer.robots.twin.plant import Plant

MAX_LINE = 1024
_WRITABLE = ("ACT", "GTO", "ATR", "ADR", "FOR", "SPE", "POS", "SID")
_READABLE = (*_WRITABLE, "STA", "PRE", "OBJ", "FLT", "MOD")
_ACTIVATION_S = 0.5
_SETTLE_S = 0.1  # without movement for that long: stopped
_STILL = 1e-4  # of the stroke, per period
_AT_TARGET = 3  # counts

MOVING, STOPPED_OPENING, STOPPED_CLOSING, AT_TARGET = 0, 1, 2, 3
"""Values of `OBJ`: 1 and 2 are an object held from inside or outside."""


class RobotiqGripper:
    """The gripper's registers, driving the plant's fingers. Positions are counts: 0 open, 255 closed."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.reset()

    def reset(self) -> None:
        """As after power-up: not activated."""
        self._set = dict.fromkeys(_WRITABLE, 0) | {"SPE": 255, "FOR": 128}
        self._active_for = self._still_for = 0.0
        self._last = self._plant.opening
        self._closing = False

    def tick(self, dt: float) -> None:
        """Let time pass."""
        self._active_for = self._active_for + dt if self._set["ACT"] else 0.0
        moved = abs(self._plant.opening - self._last) > _STILL
        self._still_for = 0.0 if moved else self._still_for + dt
        self._last = self._plant.opening

    def answer(self, line: str, *, powered: bool) -> str:
        """Reply to one line, as it goes over the wire."""
        match line.split():
            case ["GET", name] if name in _READABLE:
                return f"{name} {self.value(name) if powered else '?'}\n"
            case ["SET", *pairs] if pairs and len(pairs) % 2 == 0:
                return self._write(pairs[::2], pairs[1::2])
            case _:
                return "?\n"

    def value(self, name: str) -> int:
        """Value of a register."""
        if name == "POS":
            return round((1.0 - self._plant.opening) * 255)
        if name == "PRE":
            return self._set["POS"]
        if name == "STA":
            return 0 if not self._set["ACT"] else 3 if self._ready else 1
        if name == "OBJ":
            return self._object()
        if name in ("FLT", "MOD"):
            return 0
        return self._set[name]

    @property
    def _ready(self) -> bool:
        return self._active_for >= _ACTIVATION_S

    def _write(self, names: list[str], values: list[str]) -> str:
        if any(name not in _WRITABLE for name in names) or any(len(v) > 3 or not v.isdecimal() for v in values):
            return "?\n"
        numbers = [int(value) for value in values]
        if max(numbers) > 255:
            return "?\n"
        self._set.update(zip(names, numbers, strict=True))
        if self._set["GTO"] and self._ready and ("GTO" in names or "POS" in names):
            wanted = 1.0 - self._set["POS"] / 255
            self._closing = wanted < self._plant.opening
            self._still_for = 0.0
            self._plant.grip(wanted, self._set["SPE"] / 255, self._set["FOR"] / 255)
        return "ack"

    def _object(self) -> int:
        if abs(self.value("POS") - self._set["POS"]) <= _AT_TARGET:
            return AT_TARGET
        if not self._set["GTO"] or self._still_for < _SETTLE_S:
            return MOVING
        return STOPPED_CLOSING if self._closing else STOPPED_OPENING
