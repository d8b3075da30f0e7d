"""Pi0 (Black et al. 2024, "pi0: A Vision-Language-Action Flow Model for General Robot Control").

PaliGemma reads images and text once per chunk; an action expert, a second Gemma that reads PaliGemma's keys and values
layer by layer, turns noise into actions by flow matching.

openpi    the folder that openpi's converter writes
settings  which of the two formats a folder has, and what it says
network   transformers' PI0 modules and the sampler
policy    all of it as a `vlasteer.protocols.Policy`

Imports go from the bottom of this list upwards. The heavy ones wait until a checkpoint is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlasteer.policies.pi0.openpi import is_openpi
from vlasteer.policies.pi_family.lerobot import is_lerobot

if TYPE_CHECKING:
    from vlasteer.policies.pi0.policy import Pi0Policy


def recognises(folder: Path) -> bool:
    """Whether the folder is a Pi0 of lerobot or openpi, or an openpi checkpoint that only JAX can read."""
    return is_lerobot(folder, "pi0") or is_openpi(folder)


def load(
    folder: Path,
    name: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    convention: str | None = None,
    tokenizer: str | None = None,
    noise_seed: int = 0,
    world: str | None = None,
) -> Pi0Policy:
    """Load a checkpoint; see `Pi0Policy` for the options.

    `world` changes nothing: frames are read as worlds give them.
    """
    from vlasteer.policies.pi0.policy import Pi0Policy

    return Pi0Policy(
        Path(folder),
        name,
        device=device,
        dtype=dtype,
        convention=convention,
        tokenizer=tokenizer,
        noise_seed=noise_seed,
    )
