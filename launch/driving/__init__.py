"""What `vlasteer drive` is made of.

session          board, steering, operators, recording, and the episodes
places           where it drives: a robot, the twin, a simulation; opened and closed in order
transport        the twin's table with a cube in the gripper, as the shipped policies know it
operators        keyboard, OSC, MIDI, game controller, schedule; signals
permission       who may hold to run, and where
panel            knobs of the mounted features and of the loop
preflight_table  what was compared before anything may move
status_line      the live line on the terminal
"""
