"""A command in a terminal of its own, for tests: keys are pressed, held and let go, the screen is read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


class Terminal:
    """Runs `vlasteer ...` with a pseudo-terminal as standard input, output and error; a context manager.

    Attributes:
        screen: everything that was printed so far.
    """

    def __init__(self, arguments: Sequence[str], **environment: str) -> None:
        self._arguments, self._environment = list(arguments), environment
        self.screen = ""
        self._held = threading.Event()

    def __enter__(self) -> Terminal:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 300, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vlasteer.launch.cli", *self._arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal there
            env={**os.environ, "OMP_NUM_THREADS": "1", **self._environment},
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._presser = threading.Thread(target=self._press, daemon=True)
        self._presser.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)

    def type(self, keys: str) -> None:
        """Press keys once."""
        os.write(self._ours, keys.encode())

    def hold(self) -> None:
        """Hold the space bar, as a keyboard that repeats it."""
        self._held.set()

    def release(self) -> None:
        """Let go of it."""
        self._held.clear()

    def signal(self, number: int) -> None:
        """Send the command a signal."""
        self.process.send_signal(number)

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> str:
        """Wait until the screen shows it; what was printed after that is looked for next time."""
        return self.until(lambda: re.search(pattern, self.screen), f"the screen shows {pattern!r}", timeout_s).group()

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
        """Wait for a condition."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}\n{self.tail()}"
            assert self.process.poll() is None or condition(), f"it ended before: {what}\n{self.tail()}"
            time.sleep(0.02)
        return found

    def ended(self, timeout_s: float = 20.0) -> int:
        """Wait for the end; the exit status."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end\n{self.tail()}") from None
        self._reader.join(2.0)
        return status

    def echoes(self) -> bool:
        """Whether the terminal is as it was found: keys are shown and come by lines."""
        flags = termios.tcgetattr(self._ours)[3]
        return bool(flags & termios.ECHO) and bool(flags & termios.ICANON)

    def tail(self) -> str:
        """The end of what was printed, line by line."""
        return self.screen.replace("\r\x1b[K", "\n")[-3000:]

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side has been closed
                return
            if not data:
                return
            self.screen += data.decode("utf-8", "replace")

    def _press(self) -> None:
        while self.process.poll() is None:
            if self._held.wait(0.1):
                try:
                    os.write(self._ours, b" ")
                except OSError:
                    return
                time.sleep(0.03)
