"""`vlasteer serve` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ServerProcess:
    """A running server: its address, and how it ended."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vlasteer.launch.cli", "serve", "--port", "0", *arguments],
                stdout=subprocess.PIPE, stderr=file, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("Serving "), log.read_text()
        self.url = line.split()[-1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.communicate(timeout=30)
        finally:
            self._process.kill()
        return self._process.returncode


@contextmanager
def server_process(*arguments: object, log: Path) -> Iterator[ServerProcess]:
    """A server that is stopped at the end."""
    process = ServerProcess([str(argument) for argument in arguments], log)
    try:
        yield process
    finally:
        process.stop()
