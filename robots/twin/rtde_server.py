"""RTDE sessions (port 30004): recipes, register ownership, the stream of data packages.

What the guide says and clients rely on: input recipe ids count up from 1 per connection; a variable that does not
exist is answered `NOT_FOUND` and one that another connection has in an input recipe `IN_USE`, with recipe id 0;
ownership ends with the connection; a setup while the stream runs is refused. Protocol version 1 is not spoken.
Approximations: several output recipes per connection are kept, text messages are never sent, and data packages for
recipes that do not exist are ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vlasteer.robots.twin.connections import Connection, Network
from vlasteer.robots.twin.control_script import command_name
from vlasteer.robots.twin.io_state import Setter
from vlasteer.robots.twin.rtde_frames import (
    HEADER,
    IN_USE,
    NOT_FOUND,
    PROTOCOL_VERSION,
    TYPE_LENGTHS,
    FrameError,
    FrameReader,
    FrameType,
    frame,
    package_struct,
    parse_names,
    parse_output_setup,
    parse_protocol_version,
    setup_reply,
    version_reply,
)
from vlasteer.robots.twin.rtde_variables import input_types, output_reader, output_types

MAX_RECIPES = 255

_COMMAND_REGISTERS = ("input_int_register_0", "input_int_register_24")


@dataclass
class OutputRecipe:
    """A stream that a client asked for."""

    every: int
    """Control periods between packages."""
    layout: struct.Struct
    read: Callable[[Any], list[Any]]


@dataclass
class InputRecipe:
    """What a client will write."""

    id: int
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    layout: struct.Struct
    setters: list[Setter] = field(default_factory=list)

    def values(self, payload: bytes) -> list[Any]:
        """Value of each variable in a data package (recipe id in front).

        Raises:
            FrameError: of another length than the recipe's.
        """
        if len(payload) != self.layout.size:
            raise FrameError(f"a package of {len(payload)} bytes for a recipe of {self.layout.size}")
        flat = self.layout.unpack(payload)[1:]
        values, at = [], 0
        for length in self.lengths:
            values.append(flat[at] if length == 1 else flat[at : at + length])
            at += length
        return values

    def describe(self, payload: bytes) -> dict[str, Any]:
        """The package as the wire log shows it."""
        values = dict(zip(self.names, self.values(payload), strict=True))
        entry: dict[str, Any] = {"recipe": self.id, "values": values}
        command = next((values[name] for name in _COMMAND_REGISTERS if name in values), None)
        return entry if command is None else {**entry, "command": command, "name": command_name(command)}


class RtdeConnection(Connection):
    """One RTDE session."""

    service = "rtde"

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._reader = FrameReader()
        self._outputs: list[OutputRecipe] = []
        self._inputs: dict[int, InputRecipe] = {}
        self._setups = 0
        self._streaming = False
        self.owned: frozenset[str] = frozenset()
        """Input variables that belong to this connection for as long as it is open; their values stay."""

    def receive(self, data: bytes) -> None:
        """Answer every complete frame."""
        for kind, payload in self._reader.feed(data):
            self._answer(kind, payload)

    def stream(self) -> None:
        """Send the packages that are due in this control period."""
        if not self._streaming:
            return
        for number, recipe in enumerate(self._outputs, 1):
            if self.controller.ticks % recipe.every == 0:
                body = recipe.layout.pack(number, *recipe.read(self.controller.readings))
                self.send(HEADER.pack(HEADER.size + len(body), FrameType.DATA_PACKAGE) + body)

    def _answer(self, kind: FrameType, payload: bytes) -> None:
        if kind == FrameType.DATA_PACKAGE:
            self._take(payload)
            return
        match kind:
            case FrameType.REQUEST_PROTOCOL_VERSION:
                reply = bytes([parse_protocol_version(payload) == PROTOCOL_VERSION])
            case FrameType.GET_URCONTROL_VERSION:
                reply = version_reply(*self.controller.version.numbers)
            case FrameType.SETUP_OUTPUTS:
                reply = self._setup_outputs(payload)
            case FrameType.SETUP_INPUTS:
                reply = self._setup_inputs(payload)
            case FrameType.START | FrameType.PAUSE:
                self._streaming = kind == FrameType.START and bool(self._outputs)
                self.controller.log.add(f"rtde_{kind.name.lower()}", self.name)
                # A controller has nothing to start for a connection without outputs.
                reply = bytes([self._streaming or kind == FrameType.PAUSE or bool(self._inputs)])
            case _:
                return  # a text message from a client: real controllers log it
        self.send(frame(kind, reply))

    def _setup_outputs(self, payload: bytes) -> bytes:
        setup = parse_output_setup(payload)
        types = output_types(setup.names, self.controller.version)
        valid = NOT_FOUND not in types and not self._streaming and len(self._outputs) < MAX_RECIPES
        if valid:
            every = max(1, round(self.controller.version.rate_hz / setup.rate_hz))
            self._outputs.append(OutputRecipe(every, package_struct(types), output_reader(setup.names)))
        recipe = len(self._outputs) if valid else 0
        self.controller.log.add(
            "rtde_outputs", self.name, recipe=recipe, names=list(setup.names), types=list(types), rate=setup.rate_hz
        )
        return setup_reply(recipe, types)

    def _setup_inputs(self, payload: bytes) -> bytes:
        names = parse_names(payload)
        taken = self.controller.io.reserved.union(
            *(other.owned for other in self.network.of(RtdeConnection) if other is not self)
        )
        types = input_types(names, self.controller.version, taken)
        valid = IN_USE not in types and NOT_FOUND not in types and not self._streaming and self._setups < MAX_RECIPES
        self._setups += valid
        recipe = self._setups if valid else 0
        if valid:
            lengths = tuple(TYPE_LENGTHS[kind] for kind in types)
            setters = [self.controller.io.setter(name) for name in names]
            self._inputs[recipe] = InputRecipe(recipe, names, lengths, package_struct(types), setters)
            self.owned |= frozenset(names)
        self.controller.log.add("rtde_inputs", self.name, recipe=recipe, names=list(names), types=list(types))
        return setup_reply(recipe, types)

    def _take(self, payload: bytes) -> None:
        recipe = self._inputs.get(payload[0]) if payload else None
        if recipe is None:
            return
        values, io, now = recipe.values(payload), self.controller.io, self.controller.time_s
        for setter, value in zip(recipe.setters, values, strict=True):
            setter(value)
        for name in recipe.names:
            io.written_at[name] = now
        io.apply()
        self.controller.log.add_packed("input", self.name, recipe.describe, payload)
