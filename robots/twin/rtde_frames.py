"""RTDE protocol version 2 on the wire: frames, data types, requests.

Source: Universal Robots, "Real-Time Data Exchange (RTDE) guide". Everything is big-endian; a frame is its whole size
(u16, header included), its type (u8) and a payload. Nothing here knows sockets or controllers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct(">HB")
MAX_FRAME = 8192
"""Longest frame that is taken. The protocol could carry 65535 bytes; no recipe of existing variables needs 8192."""
SLOWEST_HZ = 1e-3
"""Lowest rate of a stream that is taken."""
PROTOCOL_VERSION = 2
NOT_FOUND = "NOT_FOUND"
IN_USE = "IN_USE"


class FrameType(IntEnum):
    """Type byte of a frame; the letters are the guide's."""

    REQUEST_PROTOCOL_VERSION = ord("V")
    GET_URCONTROL_VERSION = ord("v")
    TEXT_MESSAGE = ord("M")
    DATA_PACKAGE = ord("U")
    SETUP_OUTPUTS = ord("O")
    SETUP_INPUTS = ord("I")
    START = ord("S")
    PAUSE = ord("P")


class FrameError(ValueError):
    """Bytes that are no RTDE; the connection they came from has to be closed, for its framing is lost."""


TYPE_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT32": "I",
    "UINT64": "Q",
    "INT32": "i",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
}
"""RTDE data type -> struct format (without byte order)."""

TYPE_LENGTHS = {name: int(code[0]) if code[0].isdigit() else 1 for name, code in TYPE_FORMATS.items()}
"""RTDE data type -> how many numbers it holds."""


def frame(kind: FrameType, payload: bytes = b"") -> bytes:
    """One frame.

    Raises:
        FrameError: the payload is too long for the size field.
    """
    size = HEADER.size + len(payload)
    if size > 0xFFFF:
        raise FrameError(f"a frame of {size} bytes")
    return HEADER.pack(size, kind) + payload


class FrameReader:
    """Cuts a byte stream into frames, however it was split on the way.

    After a `FrameError` the reader is spent: nothing behind the bad header can be trusted.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[FrameType, bytes]]:
        """Take bytes; yield the frames that are complete now.

        Raises:
            FrameError: a size that cannot be, or an unknown type.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            size, kind = HEADER.unpack_from(self._buffer)
            if not HEADER.size <= size <= MAX_FRAME:
                raise FrameError(f"a frame of {size} bytes; {HEADER.size} to {MAX_FRAME} are possible")
            if kind not in _KNOWN:
                raise FrameError(f"a frame of unknown type {kind}")
            if len(self._buffer) < size:
                return
            payload = bytes(self._buffer[HEADER.size : size])
            del self._buffer[:size]
            yield FrameType(kind), payload

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)


_KNOWN = frozenset(int(kind) for kind in FrameType)


@dataclass(frozen=True)
class OutputSetup:
    """Request for a stream: names of variables and how often."""

    rate_hz: float
    names: tuple[str, ...]


def parse_protocol_version(payload: bytes) -> int:
    """Version that a client asks for.

    Raises:
        FrameError: the payload is not a u16.
    """
    if len(payload) != 2:
        raise FrameError(f"a protocol version of {len(payload)} bytes")
    return struct.unpack(">H", payload)[0]


def parse_output_setup(payload: bytes) -> OutputSetup:
    """Setup of outputs (protocol version 2: with the rate in front).

    Raises:
        FrameError: too short, not ASCII, or a rate that cannot be.
    """
    if len(payload) < 8:
        raise FrameError(f"an output setup of {len(payload)} bytes")
    (rate,) = struct.unpack_from(">d", payload)
    if not SLOWEST_HZ <= rate < 1e6:  # also refuses NaN
        raise FrameError(f"an output rate of {rate} Hz")
    return OutputSetup(rate, parse_names(payload[8:]))


def parse_names(payload: bytes) -> tuple[str, ...]:
    """Comma-separated variable names; `ur_rtde` leaves a comma at the end.

    Raises:
        FrameError: not ASCII, or none at all.
    """
    try:
        text = payload.decode("ascii")
    except UnicodeDecodeError:
        raise FrameError("variable names that are not ASCII") from None
    names = tuple(part.strip() for part in text.removesuffix(",").split(","))
    if names == ("",):
        raise FrameError("a setup without variables")
    return names


def setup_reply(recipe: int, types: Sequence[str]) -> bytes:
    """Payload that answers a setup: recipe id (0: not valid) and the type of each variable."""
    return bytes([recipe]) + ",".join(types).encode("ascii")


def version_reply(major: int, minor: int, bugfix: int, build: int) -> bytes:
    """Payload that answers `GET_URCONTROL_VERSION`."""
    return struct.pack(">4I", major, minor, bugfix, build)


def package_struct(types: Sequence[str]) -> struct.Struct:
    """Layout of a data package with variables of those types, recipe id first."""
    return struct.Struct(">B" + "".join(TYPE_FORMATS[kind] for kind in types))
