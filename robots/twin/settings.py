"""What a twin pretends to be: address, arm, software version, and the state that it starts in."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass
from functools import total_ordering

from vlasteer.errors import ConfigError
from vlasteer.kinematics import ARMS, ArmModel, arm_model

SCRIPT_PORTS = (30001, 30002, 30003)
"""Primary, secondary and real-time interface; all three take scripts."""
RTDE_PORT = 30004
DASHBOARD_PORT = 29999
GRIPPER_PORT = 63352
HOOK_PORT = 29900
"""The twin's own control channel, which a real controller does not have."""

HOME = (0.0, -math.pi / 2, math.pi / 2, -math.pi / 2, -math.pi / 2, 0.0)
"""Joint angles at the start, rad: the tool points down in front of the base, far from every singularity."""


@total_ordering
@dataclass(frozen=True)
class ControllerVersion:
    """Version of the controller software; PolyScope X is major version 10, the CB3 series major version 3."""

    major: int
    minor: int
    bugfix: int = 0
    build: int = 0

    @classmethod
    def parse(cls, text: str) -> ControllerVersion:
        """From "5.25" or "5.25.1" or "5.25.1.10".

        Raises:
            ConfigError: not a version, or one of no known series.
        """
        if not re.fullmatch(r"\d{1,3}(\.\d{1,6}){1,3}", text):
            raise ConfigError(f"controller version '{text}'", expected="numbers such as 5.25 or 3.15.8")
        version = cls(*(int(part) for part in text.split(".")))
        if version.major not in (3, 5, 10):
            raise ConfigError(
                f"controller version '{text}'", expected="3.x (CB3), 5.x (e-Series) or 10.x (PolyScope X on e-Series)"
            )
        return version

    def __lt__(self, other: ControllerVersion) -> bool:
        return self.numbers < other.numbers

    def __str__(self) -> str:
        return ".".join(str(number) for number in self.numbers)

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Major, minor, bug fix, build."""
        return self.major, self.minor, self.bugfix, self.build

    @property
    def cb3(self) -> bool:
        """Whether this is the older series."""
        return self.major == 3

    @property
    def rate_hz(self) -> int:
        """Control rate: 125 for CB3, 500 since."""
        return 125 if self.cb3 else 500

    def has(self, cb3: tuple[int, int] | None, e_series: tuple[int, int] | None) -> bool:
        """Whether a feature that came with those (major, minor) versions exists here; None: never in that series."""
        since = cb3 if self.cb3 else e_series
        return since is not None and (self.major, self.minor) >= since


@dataclass(frozen=True)
class TwinSettings:
    """One twin.

    Attributes:
        host: loopback address to serve on (127.0.0.0/8), or "auto" for a free one. `ur_rtde` does not ask for remote
            control at 127.0.0.1, so tests of that need another address.
        model: "ur5e", or "ur5" (CB3).
        version: controller software, e.g. "3.15", "5.11", "5.25", "10.11"; "" is 5.25 for e-Series, 3.15 for CB3.
        joints: joint angles at the start, rad.
        tcp: pose of the tool in the flange's frame at the start, as the installation on a real controller sets it.
        payload: mass at the start, kg.
        powered: whether the arm starts with its brakes released; otherwise somebody must power it on.
        remote_control: whether it starts in remote control.
        serial_number: what the dashboard answers.
        log_file: where the wire log is also written, one JSON object a line; "" is nowhere.
    """

    host: str = "127.0.0.2"
    model: str = "ur5e"
    version: str = ""
    joints: tuple[float, ...] = HOME
    tcp: tuple[float, ...] = (0.0,) * 6
    payload: float = 0.0
    powered: bool = True
    remote_control: bool = True
    serial_number: str = "20235500001"
    log_file: str = ""

    def __post_init__(self) -> None:
        arm_model(self.model)
        if self.host != "auto" and not _is_loopback(self.host):
            raise ConfigError(
                f"twin address '{self.host}'",
                expected="a loopback address such as 127.0.0.2, or 'auto'",
                fix="A twin is never reachable from the network",
            )
        for name, values in (("joints", self.joints), ("tcp", self.tcp)):
            if len(values) != 6 or not all(math.isfinite(v) for v in values):
                raise ConfigError(f"twin {name} {list(values)}", expected="six finite numbers")
        if not 0 <= self.payload <= 50:
            raise ConfigError(f"twin payload {self.payload} kg", expected="0 to 50")
        if not self.serial_number.isdigit():
            raise ConfigError(f"twin serial number '{self.serial_number}'", expected="digits; clients check that")
        if self.controller.cb3 != (self.model == "ur5"):
            raise ConfigError(
                f"a {self.model} with controller version {self.controller}",
                expected="3.x for the ur5 (CB3), 5.x or 10.x for the ur5e",
            )

    @property
    def controller(self) -> ControllerVersion:
        """The parsed version."""
        return ControllerVersion.parse(self.version or ("3.15" if self.model == "ur5" else "5.25"))

    @property
    def arm(self) -> ArmModel:
        """Geometry and limits of the arm."""
        return ARMS[self.model]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ipaddress.AddressValueError:
        return False
