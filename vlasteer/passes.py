"""What a policy tells its steered modules about the forward pass that is about to run.

A policy owns one `PassContext`. It calls `begin_step` once per control step and `begin_pass` before every forward pass.
Steered modules and activation taps read it. Everything that a compiled graph reads is a buffer at a fixed address, so
that neither a new batch row nor a new pass recompiles anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vlasteer.errors import SteeringError


class PassContext(nn.Module):
    """Rows and position kinds of the running forward pass.

    Args:
        kinds: names of the kinds of position that the policy distinguishes, e.g. ("text", "image", "decode"). A
            position's kind is the index of its name. Scopes are sets of these names. A dot makes a kind one of a
            family: "decode.1" is told apart where that matters, and is "decode" to everyone else.
        max_rows: largest batch.
        max_positions: longest sequence of one pass.
    """

    rows: Tensor
    kinds: Tensor

    def __init__(self, kinds: Sequence[str], *, max_rows: int = 1024, max_positions: int = 4096) -> None:
        super().__init__()
        self.kind_names = tuple(kinds)
        self.steering_rows = 1
        """Rows of the mounted steering tables: 1 serves every batch, otherwise row ids must lie below it."""
        self.register_buffer("rows", torch.zeros(max_rows, dtype=torch.int64), persistent=False)
        self.register_buffer("kinds", torch.zeros(max_positions, dtype=torch.int64), persistent=False)
        self._on_step: list[Callable[[], None]] = []
        self.batch_rows: tuple[int, ...] = (0,)
        """Row ids of the running pass as given by the caller, whether or not a steering is mounted."""
        self.read_from: Tensor | None = None
        """bool [batch, positions]: where the answer is read from in the running pass; None: at the last position."""
        self.port_values: Callable[[int], Mapping[str, float | None]] | None = None
        """Set while a steering is mounted: row -> coefficient of every knob as the model has it (None: off)."""

    def applied(self, row: int) -> dict[str, float | None]:
        """Coefficient of every mounted knob for that steering row (None: off); empty when nothing is mounted."""
        return {} if self.port_values is None else dict(self.port_values(row))

    def begin_step(self) -> None:
        """A control step begins: staged coefficients become effective now, in all layers at once."""
        for callback in self._on_step:
            callback()

    def begin_pass(self, kinds: Tensor, rows: Sequence[int], read_from: Tensor | None = None) -> None:
        """A forward pass of `len(rows)` sequences begins.

        Args:
            kinds: int64 [positions], kind of every position, on this module's device.
            rows: steering row of every sequence of the batch.
            read_from: bool [batch, positions], the positions that the policy's answer is read from, where these are not
                the last ones: a prefix that a decoder attends to as a whole, without its padding. Nothing is steered by
                it; finders look there.

        Raises:
            SteeringError: a row for which no steering was mounted.
        """
        if len(rows) > len(self.rows) or len(kinds) > len(self.kinds):
            raise SteeringError(
                f"a pass of {len(rows)} rows x {len(kinds)} positions",
                expected=f"at most {len(self.rows)} x {len(self.kinds)}",
            )
        if tuple(rows) != self.batch_rows or self.steering_rows > 1:
            self._write_rows(rows)
        self.kinds[: len(kinds)].copy_(kinds)
        self.read_from = read_from

    def _write_rows(self, rows: Sequence[int]) -> None:
        self.batch_rows = tuple(rows)
        if self.steering_rows == 1:
            self.rows.zero_()
            return
        if max(rows) >= self.steering_rows or min(rows) < 0:
            raise SteeringError(
                f"steering row {max(rows)} in a batch",
                expected=f"rows below {self.steering_rows}, as mounted",
                fix="Mount with steer(policy, steering, rows=N)",
            )
        self.rows[: len(rows)].copy_(torch.tensor(rows, dtype=torch.int64))

    def set_steering_rows(self, rows: int) -> None:
        """The mounted tables have `rows` rows; 1 means that one configuration serves every row."""
        self.steering_rows = rows
        self.rows.zero_()
        self.batch_rows = (0,)

    def on_step(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` at every `begin_step`; returns a function that ends this."""
        self._on_step.append(callback)

        def remove() -> None:
            self._on_step.remove(callback)

        return remove
