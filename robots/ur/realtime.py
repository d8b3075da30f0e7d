"""What a process can do to be on time, as far as the system lets it; and a timer that ends it when it hangs."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from pathlib import Path

_PRIORITY = 40  # above ordinary threads, below the kernel's
_CURRENT_AND_FUTURE = 1 | 2  # MCL_CURRENT | MCL_FUTURE


class RealTime:
    """Locked memory, no garbage collection in between, and SCHED_FIFO; as far as each is permitted.

    SCHED_FIFO needs CAP_SYS_NICE or `ulimit -r`; locked memory CAP_IPC_LOCK or `ulimit -l`. Made in the loop's thread;
    threads that are started between that and `adopt` are made real-time there.

    Attributes:
        means: what was permitted, for people.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._mine, self._urgent = _threads(), False
        self._permitted = _schedule(0, True) and _schedule(0, False)
        locked = ctypes.CDLL(None).mlockall(_CURRENT_AND_FUTURE) == 0
        self.means = ("SCHED_FIFO",) * self._permitted + ("locked memory",) * locked

    def adopt(self) -> None:
        """Have the threads that were started since be scheduled in real time: the client's, which wait for sockets."""
        for thread in _threads() - self._mine if self._permitted else ():
            _schedule(thread, True)

    def urgent(self, on: bool) -> None:
        """Whether this thread is; not while it waits in a busy loop, which would keep the processor from others."""
        if self._permitted and on != self._urgent:
            self._urgent = on
            _schedule(0, on)


def _threads() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def _schedule(thread: int, urgent: bool) -> bool:
    policy = os.SCHED_FIFO if urgent else os.SCHED_OTHER
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(_PRIORITY if urgent else 0))
    except OSError:  # not permitted, or the thread has ended
        return False
    return True


def end_if_hung(seconds: float) -> None:
    """Have the kernel end this process (SIGALRM) unless this is called again within that time; 0 calls it off.

    It works while C++ code holds the interpreter lock, when nothing in Python could.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Pace:
    """A loop's periods by absolute times: lateness does not add up, and missed periods are left out, not caught up.

    Attributes:
        rate_hz: measured, over about the last second.
        late: periods that were left out.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next = self._last = time.monotonic()
        self.rate_hz, self.late = 1.0 / period_s, 0
        self._mean_s = period_s

    def wait(self) -> float:
        """Wait for the end of the period; the time then."""
        self._next += self._period_s
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        elif now > self._next + self._period_s:
            missed = int((now - self._next) / self._period_s)
            self.late += missed
            self._next += missed * self._period_s
        now = time.monotonic()
        self._mean_s += (now - self._last - self._mean_s) * min(1.0, self._period_s)
        self._last, self.rate_hz = now, 1.0 / self._mean_s
        return now
