"""Which format a Pi0 folder has, and what it says about the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vlasteer.policies.fields import Fields
from vlasteer.policies.pi0 import openpi
from vlasteer.policies.pi_family import lerobot
from vlasteer.policies.pi_family.checkpoint import PiCheckpoint


@dataclass(frozen=True)
class Flow:
    """Flow matching (Lipman et al. 2023) as Pi0 uses it.

    Attributes:
        steps: Euler steps from noise (time 1) to actions (time 0).
        chunk: actions per answer.
        action_dim, state_dim: padded lengths of actions and state.
        min_period, max_period: of the sinusoids that encode time.
    """

    steps: int
    chunk: int
    action_dim: int
    state_dim: int
    min_period: float
    max_period: float


@dataclass(frozen=True)
class Pi0Settings:
    """A checkpoint, its sampler, and whether openpi cleans its prompts."""

    checkpoint: PiCheckpoint
    flow: Flow
    cleans_instruction: bool

    def prompt(self, instruction: str) -> str:
        """The instruction as in training: it ends in a newline, which says that the answer begins."""
        text = openpi.clean_instruction(instruction) if self.cleans_instruction else instruction
        return text if text.endswith("\n") else f"{text}\n"


def read_settings(folder: Path, convention: str | None) -> Pi0Settings:
    """Read either format.

    Raises:
        CheckpointError, ConfigError, UnknownNameError: see the two formats.
    """
    if openpi.is_openpi(folder):
        checkpoint, fields = openpi.read_checkpoint(folder, convention)
        dim = fields.integer("action_dim")
        return Pi0Settings(checkpoint, _flow(fields, checkpoint, dim, dim), cleans_instruction=True)
    checkpoint, fields = lerobot.read_checkpoint(folder, convention=convention, expert=True)
    dims = fields.integer("max_action_dim", 32), fields.integer("max_state_dim", 32)
    return Pi0Settings(checkpoint, _flow(fields, checkpoint, *dims), cleans_instruction=False)


def _flow(fields: Fields, checkpoint: PiCheckpoint, action_dim: int, state_dim: int) -> Flow:
    return Flow(
        steps=fields.integer("num_inference_steps", 10),
        chunk=checkpoint.chunk,
        action_dim=action_dim,
        state_dim=state_dim,
        min_period=fields.number("min_period", 4e-3),
        max_period=fields.number("max_period", 4.0),
    )
