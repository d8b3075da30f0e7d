"""States of a UR controller, with the numbers that travel in RTDE (RTDE guide, "Robot controller outputs")."""

from __future__ import annotations

from enum import IntEnum


class RuntimeState(IntEnum):
    """State of the program (`runtime_state`)."""

    STOPPING = 0
    STOPPED = 1
    PLAYING = 2
    PAUSING = 3
    PAUSED = 4
    RESUMING = 5


class RobotMode(IntEnum):
    """State of power and brakes (`robot_mode`)."""

    NO_CONTROLLER = -1
    DISCONNECTED = 0
    CONFIRM_SAFETY = 1
    BOOTING = 2
    POWER_OFF = 3
    POWER_ON = 4
    IDLE = 5
    """Powered, brakes on."""
    BACKDRIVE = 6
    """Moved by hand (freedrive)."""
    RUNNING = 7
    """Powered, brakes released."""


class JointMode(IntEnum):
    """State of one joint (`joint_mode`)."""

    BACKDRIVE = 238
    POWER_OFF = 239
    BOOTING = 247
    RUNNING = 253
    IDLE = 255


class SafetyMode(IntEnum):
    """State of the safety system (`safety_mode`)."""

    NORMAL = 1
    REDUCED = 2
    PROTECTIVE_STOP = 3
    RECOVERY = 4
    SAFEGUARD_STOP = 5
    SYSTEM_EMERGENCY_STOP = 6
    ROBOT_EMERGENCY_STOP = 7
    VIOLATION = 8
    FAULT = 9


MAY_MOVE = (SafetyMode.NORMAL, SafetyMode.REDUCED)
"""Safety modes in which a program runs."""

UNPOWERED = (
    SafetyMode.SYSTEM_EMERGENCY_STOP,
    SafetyMode.ROBOT_EMERGENCY_STOP,
    SafetyMode.VIOLATION,
    SafetyMode.FAULT,
)
"""Safety modes that end the program and take the arm's power."""

_EMERGENCY_STOPPED = 7  # "is emergency stopped", set for either kind
_STOPPED_FOR_SAFETY = 10
_MODE_BIT = {
    SafetyMode.NORMAL: 0,
    SafetyMode.REDUCED: 1,
    SafetyMode.PROTECTIVE_STOP: 2,
    SafetyMode.RECOVERY: 3,
    SafetyMode.SAFEGUARD_STOP: 4,
    SafetyMode.SYSTEM_EMERGENCY_STOP: 5,
    SafetyMode.ROBOT_EMERGENCY_STOP: 6,
    SafetyMode.VIOLATION: 8,
    SafetyMode.FAULT: 9,
}


def safety_status_bits(mode: SafetyMode) -> int:
    """`safety_status_bits` of a safety mode."""
    bits = 1 << _MODE_BIT[mode]
    if mode in (SafetyMode.SYSTEM_EMERGENCY_STOP, SafetyMode.ROBOT_EMERGENCY_STOP):
        bits |= 1 << _EMERGENCY_STOPPED
    if mode not in (*MAY_MOVE, SafetyMode.RECOVERY):
        bits |= 1 << _STOPPED_FOR_SAFETY
    return bits


def robot_status_bits(*, powered: bool, program_running: bool, freedrive: bool) -> int:
    """`robot_status_bits`: power on, program running, teach button pressed, power button pressed (never here)."""
    return powered | program_running << 1 | freedrive << 2
