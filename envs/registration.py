"""The Gymnasium ids of our environments: `import vlasteer.envs.registration`, then `gymnasium.make("vlasteer/...")`.

Subprocesses of a vector environment need both in one: `gymnasium.make("vlasteer.envs.registration:vlasteer/...")`. One
entry each. Entry points are strings, so that importing this imports no simulator.
"""

from __future__ import annotations

import gymnasium

ENTRIES = {
    "vlasteer/Libero-v0": "vlasteer.envs.libero.env:LiberoEnv",
    "vlasteer/UR5eTabletop-v0": "vlasteer.envs.tabletop.env:UR5eTabletopEnv",
}

for _id, _entry_point in ENTRIES.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=_entry_point)
