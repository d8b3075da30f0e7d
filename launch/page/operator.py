"""What the person at the page says, and what they are told: one web socket per tab, beside viser's own.

Messages are JSON. To the tab, 20 times a second: `n` (a number, see `hold`), `hold` (a `Hold`), and every other time
`state` (see `console.state_of`). From the tab: `press`, `held`, `release`, `beat` (numbers), `set` (knobs with values
or null), `reset` (knob), `say`, `stop`, `record`, `mark`, `pack`. Whatever is malformed closes the connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from vlasteer.errors import InputError
from vlasteer.knobs import KnobBoard
from vlasteer.launch.page.hold import Hold, HoldLease

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

TICK_S = 0.05
MAX_TABS = 16
_STATE_EVERY = 2
_LONGEST = 4096
_MALFORMED, _TRY_AGAIN_LATER = 1008, 1013


class OperatorDesk:
    """Turns messages of tabs into what one source of the board says.

    The methods are called in the server's event loop alone; `state_text` may be replaced from any thread.

    Args:
        board: written to as the source "page".
        packs: feature packs by name, each with the knobs that it brings; a page shows one at a time.

    Attributes:
        state_text: JSON of the newest state, sent to every tab.
        pack: the one that is shown; "" without packs.
        shown_held: whether the hold counts with the board (for the tabs' words only).
    """

    def __init__(self, board: KnobBoard, packs: Mapping[str, tuple[str, ...]]) -> None:
        self.board, self.packs = board, packs
        self.pack = next(iter(packs), "")
        self.source = board.source("page", live=True)
        self.state_text = "{}"
        self._lease = HoldLease()
        self._lags: dict[int, float] = {}
        self._numbers = count(1)
        self._said: dict[str, Callable[[Any], None]] = {
            "say": lambda words: self.source.say(_text(words)),
            "stop": lambda _: self.source.stop(),
            "record": lambda on: self.source.record(bool(on)),
            "mark": lambda label: self.source.mark(_text(label)),
            "set": self._set,
            "reset": lambda knob: self.source.release(_text(knob)),
            "pack": lambda name: self.choose_pack(_text(name)),
        }

    @property
    def tabs(self) -> int:
        """How many are connected."""
        return self._lease.tabs

    @property
    def lag_s(self) -> float:
        """How long the slowest tab took to answer, of late."""
        return max(self._lags.copy().values(), default=0.0)

    async def serve(self, connection: ServerConnection) -> None:
        """Handle one tab until it is gone; its hold ends with it."""
        from websockets.exceptions import ConnectionClosed

        if self.tabs >= MAX_TABS:
            await connection.close(_TRY_AGAIN_LATER, "too many tabs")
            return
        tab = next(self._numbers)
        self._lease.join(tab)
        ticking = asyncio.create_task(self._tick(tab, connection))
        try:
            async for message in connection:
                self.hear(tab, message, time.monotonic())
        except InputError as error:
            await connection.close(_MALFORMED, str(error)[:100])
        except ConnectionClosed:
            pass  # closed without a goodbye: as good as any
        finally:
            ticking.cancel()
            self._lags.pop(tab, None)
            if self._lease.leave(tab):
                self.source.hold(False)

    def hear(self, tab: int, message: str | bytes, now: float) -> None:
        """Do what a message of a tab says.

        Raises:
            InputError: it says nothing that can be done.
        """
        try:
            said = json.loads(message) if len(message) <= _LONGEST else None
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise InputError(f"a message of {len(message)} characters", expected=f"a JSON object of {_LONGEST} at most")
        for word, value in said.items():
            if word in ("press", "held", "release", "beat"):
                self._hold(tab, word, value, now)
            elif word in self._said:
                self._said[word](value)
            else:
                raise InputError(f"the message '{word[:20]}'", expected=f"one of: {', '.join(self._said)}")

    def tick(self, tab: int, now: float) -> str:
        """The next message for a tab."""
        if self._lease.expire(now):
            self.source.hold(False)
        number = self._lease.issue(tab, now)
        hold = self._lease.seen_by(tab)
        if hold is Hold.MINE and not self.board.held():
            hold = Hold.LAPSED  # the board did not take the press: another source holds, or the episode was stopped
        state = f',"state":{self.state_text}' if number % _STATE_EVERY == 0 or self.tabs > 1 else ""
        return f'{{"n":{number},"hold":"{hold.value}"{state}}}'

    def choose_pack(self, name: str) -> None:
        """Show another pack; the knobs of the one before are switched off, so that nothing unseen steers."""
        if name not in self.packs:
            raise InputError(f"the pack '{name}'", expected=f"one of: {', '.join(self.packs)}")
        for other in self.packs[self.pack]:
            if other not in self.packs[name]:
                self.source.set(other, None)
        self.pack = name

    async def _tick(self, tab: int, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                await connection.send(self.tick(tab, time.monotonic()))
                await asyncio.sleep(TICK_S)
        except ConnectionClosed:
            return

    def _hold(self, tab: int, word: str, number: object, now: float) -> None:
        age = self._lease.age(tab, number, now)
        if age is not None:
            self._lags[tab] = max(age, 0.9 * self._lags.get(tab, 0.0))
        if word == "press":
            if self._lease.press(tab, number, now):
                self.source.hold(False)  # whatever was before: this is a new press
                self.source.hold(True)
        elif word == "held":
            if self._lease.renew(tab, number, now):
                self.source.hold(True)
        elif word == "release" and self._lease.release(tab):
            self.source.hold(False)
        if word in ("held", "beat") and self._lease.is_fresh(tab, number, now):
            self.source.beat()

    def _set(self, value: Any) -> None:
        if not isinstance(value, dict) or not value:
            raise InputError("a knob setting", expected='{"knob": number or null}')
        for knob, setting in value.items():
            if setting is not None and (isinstance(setting, bool) or not isinstance(setting, int | float)):
                raise InputError(f"a setting of knob '{knob}'", expected="a number or null")
            self.source.set(knob, setting)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"a {type(value).__name__} in a message", expected="a text")
    return value
