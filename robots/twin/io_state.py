"""Registers, digital and analogue outputs, speed slider: what clients write and programs read, and the other way round.

Inputs keep their last value for ever, as on a real controller: nothing is cleared when a client goes away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

REGISTERS = 48
"""Integer and floating-point registers each way; by convention 0-23 are for fieldbuses, 24-47 for RTDE clients."""

Setter = Callable[[Any], None]


class IoState:
    """Everything that RTDE inputs write and RTDE outputs report, but the arm itself.

    Attributes:
        int_in, float_in, bit_in: input registers (bits as one number, bit i is register i).
        int_out, float_out, bit_out: output registers.
        digital_in: input bits, 0-7 standard, 8-15 configurable, 16-17 tool.
        digital_out: output bits, numbered alike.
        analog_in, analog_out: V or A of the two standard channels.
        analog_out_voltage: whether each analogue output is a voltage (else a current).
        speed_slider: 0 to 1.
        slider_fault: set when the slider leaves 0, which a program in motion was seen to answer with a protective stop.
        external_wrench: last `external_force_torque` [6].
        reserved: hook: input variables that something on the robot itself owns, a fieldbus for example.
        written_at: controller clock of the last write to each input variable, for the watchdog.
    """

    def __init__(self) -> None:
        self.int_in = [0] * REGISTERS
        self.float_in = [0.0] * REGISTERS
        self.bit_in = 0
        self.int_out = [0] * REGISTERS
        self.float_out = [0.0] * REGISTERS
        self.bit_out = 0
        self.digital_in = 0
        self.digital_out = 0
        self.analog_in = [0.0, 0.0]
        self.analog_out = [0.0, 0.0]
        self.analog_out_voltage = [True, True]
        self.speed_slider = 1.0
        self.slider_fault = False
        self.external_wrench: tuple[float, ...] = (0.0,) * 6
        self.reserved: frozenset[str] = frozenset()
        self.written_at: dict[str, float] = {}
        self._masked: dict[str, Any] = {}

    def reset(self) -> None:
        """Put the pendant's slider and the digital inputs back; registers and outputs keep their values."""
        self.speed_slider, self.slider_fault, self.digital_in = 1.0, False, 0

    def setter(self, name: str) -> Setter:
        """Function that takes a value for the input variable `name` (which has to be one of `INPUTS`)."""
        for prefix, values in (("input_int_register_", self.int_in), ("input_double_register_", self.float_in)):
            if name.startswith(prefix):
                index = int(name.removeprefix(prefix))
                return lambda value: values.__setitem__(index, value)
        if name.startswith("input_bit_registers"):
            shift = int(name.removeprefix("input_bit_registers").partition("_")[0])
            return lambda value: self._set_bits(0xFFFFFFFF << shift, value << shift)
        if name.startswith("input_bit_register_"):
            bit = int(name.removeprefix("input_bit_register_"))
            return lambda value: self._set_bits(1 << bit, int(value) << bit)
        if name == "external_force_torque":
            return lambda value: setattr(self, "external_wrench", value)
        return lambda value: self._masked.__setitem__(name, value)

    def apply(self) -> None:
        """Carry out the outputs whose mask and value came with the last data package."""
        masked, self._masked = self._masked, {}
        if not masked:
            return
        for group, shift in (("standard", 0), ("configurable", 8), ("tool", 16)):
            mask = masked.get(f"{group}_digital_output_mask")
            if mask is not None and f"{group}_digital_output" in masked:
                value = masked[f"{group}_digital_output"]
                self.digital_out = self.digital_out & ~(mask << shift) | (value & mask) << shift
        if masked.get("speed_slider_mask") and "speed_slider_fraction" in masked:
            self.set_speed_slider(masked["speed_slider_fraction"])
        for channel in (0, 1):
            if masked.get("standard_analog_output_mask", 0) >> channel & 1:
                voltage = bool(masked.get("standard_analog_output_type", 0) >> channel & 1)
                fraction = _unit(masked.get(f"standard_analog_output_{channel}", 0.0))
                self.analog_out_voltage[channel] = voltage
                self.analog_out[channel] = fraction * 10.0 if voltage else 0.004 + fraction * 0.016

    def set_int_out(self, index: int, value: float) -> None:
        """Write an integer output register, held to what 32 bits hold; NaN becomes 0."""
        self.int_out[index] = int(min(max(-(2.0**31), value), 2.0**31 - 1)) if value == value else 0

    def set_speed_slider(self, fraction: float) -> None:
        """Move the slider, from the wire or the pendant."""
        fraction = _unit(fraction)
        self.slider_fault |= self.speed_slider == 0 and fraction > 0
        self.speed_slider = fraction

    def _set_bits(self, mask: int, bits: int) -> None:
        self.bit_in = self.bit_in & ~mask | bits & mask


def _unit(value: float) -> float:
    return min(max(0.0, value), 1.0)  # NaN becomes 0
