"""The live loop: an episode that a person holds to run, with knobs that turn while it runs.

    status       what is told at every control period
    session      what both loops share: reading the knobs, recording, telling
    synchronous  simulations, and robots whose policy is waited for
    overlapped   robots that move while the policy thinks

Imports: the core. Nothing here knows a recorder, a page or a robot's wire but through `vlasteer.protocols`.
"""

from vlasteer.live.run import run_live
from vlasteer.live.status import LiveOptions, LivePhase, LiveStatus

__all__ = ["LiveOptions", "LivePhase", "LiveStatus", "run_live"]
