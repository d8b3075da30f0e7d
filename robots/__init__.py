"""Worlds in metal: the UR5 over RTDE, its servo process, safety filter, gripper and cameras; and the controller twin.

Imports the core only; never `envs` or `policies`.
"""
