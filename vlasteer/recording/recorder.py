"""The recorder: a `Sink` that writes one episode at a time into a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vlasteer.errors import OutputError
from vlasteer.recording.journal import Journal
from vlasteer.types import EpisodeInfo, Outcome, StepRecord

if TYPE_CHECKING:
    from vlasteer.recording.dataset import DatasetWriter


class Companion(Protocol):
    """Something that is recorded beside the steps of an episode: a camera at its own rate, the policy's calls.

    What it writes into its folder is moved to its place in the run when the episode is sealed (`beside`).

    Attributes:
        place: where in the run, e.g. "cameras/wrist".
    """

    place: str

    def open(self, episode: EpisodeInfo) -> None:
        """An episode begins."""
        ...

    def begin(self, folder: Path) -> None:
        """The first step has come; `folder` is there to be written to."""
        ...

    def step(self, record: StepRecord) -> None:
        """One control step happened. Must not block."""
        ...

    def end(self) -> None:
        """The episode ended; everything is on disk when this returns. Also called when nothing was begun."""
        ...


class Recorder:
    """Records what it is told; made by `DatasetWriter.recorder`, one for every episode that is open at a time.

    Frames are encoded in a thread beside the loop, one step behind it at most: when `step` returns, all earlier steps
    are on disk, and this one is a few milliseconds later. The step in flight is what a `kill -9` can lose.
    """

    def __init__(self, dataset: DatasetWriter, beside: Sequence[Companion] = ()) -> None:
        self._dataset, self._beside = dataset, tuple(beside)
        self._episode: EpisodeInfo | None = None
        self._journal: Journal | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None

    def open(self, episode: EpisodeInfo) -> None:
        """Begin an episode. Nothing is written before its first step."""
        if self._episode is not None:
            raise OutputError(
                f"episode {episode.index} was opened while episode {self._episode.index} is being recorded",
                fix="Close it first, or use a recorder of its own",
            )
        self._episode = episode
        for companion in self._beside:
            companion.open(episode)

    def step(self, record: StepRecord) -> None:
        """Record a step.

        Raises:
            ObservationError, OutputError: the step does not fit the dataset, or the disk refused it.
        """
        if self._episode is None:
            raise OutputError(f"step {record.step} came while no episode is open", fix="Call open() first")
        self._wait()
        try:
            if self._journal is None:
                layout = self._dataset.layout_for(self._episode, record)
                self._journal = Journal(self._dataset.journals, self._episode, layout)
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
                for companion in self._beside:
                    companion.begin(self._journal.folder_for(companion.place))
            prepared = self._journal.prepare(record)
        except OSError as error:
            raise _refused(error) from error
        assert self._thread is not None
        self._pending = self._thread.submit(self._journal.write, prepared)
        for companion in self._beside:
            companion.step(record)

    def close(self, outcome: Outcome) -> None:
        """End the episode and seal it into the dataset; one without a step leaves no trace.

        `RUNNING` means that whoever recorded was interrupted: the episode is kept as `FAILED` and marked.

        Raises:
            OutputError: the disk refused; the episode stays in the journal, to be sealed when the dataset is opened.
        """
        journal, thread, pending = self._journal, self._thread, self._pending
        self._episode = self._journal = self._thread = self._pending = None
        with ExitStack() as stack:  # what failed beside the episode is told when the episode is safe
            if journal is not None and thread is not None:
                stack.callback(self._seal, journal, thread, pending, outcome)
            for companion in self._beside:
                stack.callback(companion.end)

    def _seal(
        self, journal: Journal, thread: ThreadPoolExecutor, pending: Future[None] | None, outcome: Outcome
    ) -> None:
        thread.shutdown()
        failure = None if pending is None else pending.exception()
        try:
            journal.close()
            self._dataset.seal(journal.folder, outcome if failure is None else Outcome.FAILED)
        except OSError as error:
            raise _refused(error) from error
        if isinstance(failure, OSError):
            raise _refused(failure) from failure
        if failure is not None:
            raise failure

    def _wait(self) -> None:
        # A write that failed stays pending, so that nothing is written after a gap.
        if self._pending is not None:
            try:
                self._pending.result()
            except OSError as error:
                raise _refused(error) from error


def _refused(error: OSError) -> OutputError:
    return OutputError(f"the recording cannot be written: {error}", fix="Free disk space or choose another folder")
