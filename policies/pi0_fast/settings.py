"""What config.json says about decoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vlasteer.errors import CheckpointError
from vlasteer.policies.pi_family import lerobot
from vlasteer.policies.pi_family.checkpoint import PiCheckpoint


@dataclass(frozen=True)
class Pi0FastSettings:
    """A checkpoint and its decoding.

    Attributes:
        checkpoint: what it shares with Pi0.
        decoding_steps: most ids that an answer has.
        skipped_tokens: ids at the end of the vocabulary that are no action tokens.
        codec: hub name of the FAST codec.
    """

    checkpoint: PiCheckpoint
    decoding_steps: int
    skipped_tokens: int
    codec: str


def read_settings(folder: Path, convention: str | None) -> Pi0FastSettings:
    """Read the folder.

    Raises:
        CheckpointError, ConfigError, UnknownNameError: see `vlasteer.policies.pi_family.lerobot`; or the checkpoint
            asks for sampled ids.
    """
    checkpoint, fields = lerobot.read_checkpoint(folder, convention=convention, expert=False)
    if fields.number("temperature", 0.0) != 0:
        raise CheckpointError(
            f"{fields.where}: temperature is {fields.number('temperature')}", expected="0: decoding is greedy"
        )
    return Pi0FastSettings(
        checkpoint,
        decoding_steps=fields.integer("max_decoding_steps", 256),
        skipped_tokens=fields.integer("fast_skip_tokens", 128, at_least=0),
        codec=fields.text("action_tokenizer_name", "lerobot/fast-action-tokenizer"),
    )
