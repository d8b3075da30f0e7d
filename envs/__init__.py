"""Worlds in simulation: the UR5e tabletop (ours, MuJoCo) and LIBERO.

Imports the core only; never `robots` or `policies`. Each world is a folder that offers `names()` and
`make(name, **options)` (the entry points of the group `vlasteer.envs`); `registration` makes the same worlds known to
Gymnasium.
"""
