"""How many threads PyTorch computes with: one, for a policy so small that threads cost more than they bring."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlasteer.protocols import Policy

SMALL = 20_000_000
"""Weights in the FFNs' output matrices below which a policy is small: nano policies have 10^5, Pi0 has 6 * 10^8."""


def settle_threads(policy: Policy) -> None:
    """One thread for a small policy. Threads that wait for each other are slow where anything else runs beside them:
    a twin, a renderer, a page. OMP_NUM_THREADS, where it is set, is left as it is, and so are policies on servers.
    """
    if "OMP_NUM_THREADS" in os.environ or hasattr(policy, "steered"):  # it computes elsewhere
        return
    if sum(site.width * site.hidden for site in policy.anatomy.sites) < SMALL:
        import torch

        torch.set_num_threads(1)
