"""Positions of faders, wheels and sticks as values of knobs."""

from __future__ import annotations

from vlasteer.knobs import Knob

_DETENT = 0.01
"""Half-width of the middle position, as a fraction of the way; one step of a MIDI fader is 0.008."""
_KEY_STEPS = 20
"""Presses of a key from one end of a knob to the other."""


def fader_value(knob: Knob, position: float) -> float | None:
    """Value of a fader's position from 0 to 1.

    Where the knob's rest is inside of its range the middle is the rest, and off if the knob begins off; both halves are
    linear. Elsewhere the whole way is.
    """
    position = min(max(position, 0.0), 1.0)
    if not knob.low < knob.rest < knob.high:
        return knob.low + position * (knob.high - knob.low)
    if abs(position - 0.5) <= _DETENT:
        return knob.default if knob.default is None else knob.rest
    if position > 0.5:
        return knob.rest + (position - 0.5) * 2 * (knob.high - knob.rest)
    return knob.rest - (0.5 - position) * 2 * (knob.rest - knob.low)


def turned(knob: Knob, setpoint: float | None, steps: float) -> float:
    """The setpoint so many key steps further; from off it begins at the knob's rest."""
    start = knob.rest if setpoint is None else setpoint
    step = max((knob.high - knob.low) / _KEY_STEPS, 1.0 if knob.kind == "replan" else 0.0)
    value = min(max(start + steps * step, knob.low), knob.high)
    # Back at rest after many steps there is no remainder of rounding.
    return knob.rest if abs(value - knob.rest) < 1e-9 * (knob.high - knob.low) else value
