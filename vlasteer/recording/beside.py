"""What lies beside the dataset in a run, episode by episode: cameras at their own rate, and the policy's calls.

It is written into the episode's journal and moved to its place once the episode is part of the dataset. A crash in
between is made good when the dataset is opened: as long as the journal is there, `seal_beside` may be called again.
"""

from __future__ import annotations

from pathlib import Path

from vlasteer.recording.call_files import seal_calls
from vlasteer.recording.cameras import seal_cameras


def seal_beside(journal: Path, root: Path, episode: int) -> None:
    """Move what a journal holds beside its steps to where the reader looks for it."""
    seal_cameras(journal, root, episode)
    seal_calls(journal, root, episode)
