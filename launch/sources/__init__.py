"""Where knob values come from: each input is a context manager that writes to a board.

    keyboard   the terminal: space holds, brackets choose a knob, arrows turn it
    osc        a UDP server for Open Sound Control (extra `live`)
    midi       a MIDI port, or a TCP port where there is no MIDI hardware (extra `live`)
    gamepad    a game controller (extra `gamepad`)
    schedule   a file with the steps or times at which knobs turn
    callback   a Python function of the live status

The first four have a thread of their own. The last two are called with every `LiveStatus` (`tick`), so that they act at
the same control step in every run.
"""
