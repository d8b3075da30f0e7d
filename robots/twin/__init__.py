"""A twin: a UR controller in pure Python that `ur_rtde` cannot tell from a UR5e on the wire.

Ports of one loopback address: 30001-30003 scripts, 30004 RTDE, 29999 dashboard, 63352 Robotiq gripper, and 29900 for
hooks. Imports point downward only:

    process, __main__          a twin in a process of its own
    service                    the event loop: ports, clock, end
    hook_channel, hooks        what tests do and read
    rtde_server, connections   the sessions of clients; dashboard: its commands
    controller                 one control period: safety, watchdog, program, motion, plant
    control_script, script_queries, script_registers, statements, program   programs that run
    rtde_variables, readings   what RTDE reports
    robot                      state below the programs
    motion, safety, gripper, io_state, plant, mujoco_plant, wire_log
    arm, urscript, rtde_frames, states, settings

Each module says in its docstring where it approximates a real controller. Stopping distances are the twin's, not an
arm's.
"""

from __future__ import annotations

from vlasteer.robots.twin.hook_channel import HookClient
from vlasteer.robots.twin.plant import KinematicPlant, Plant
from vlasteer.robots.twin.process import TwinProcess
from vlasteer.robots.twin.settings import TwinSettings

__all__ = ["HookClient", "KinematicPlant", "Plant", "TwinProcess", "TwinSettings"]
