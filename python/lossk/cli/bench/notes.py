"""The notes on missed targets: a Markdown file with a heading per note, and what belongs to which miss.

A heading is a glob on the keys of misses (`Target.key`), so that one reason may stand for several; the text below it,
two lines at most, says what was tried and why it was not enough.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LINES = 2


class NotesError(ValueError):
    """Notes and misses do not belong together; the message lists how."""


@dataclass(frozen=True)
class Note:
    """One note: which misses it is about, and its text."""

    pattern: str
    text: str

    def covers(self, key: str) -> bool:
        """Whether a miss is one of those that the note is about."""
        return fnmatch.fnmatchcase(key, self.pattern)


def parse_notes(page: str) -> list[Note]:
    """Read notes from Markdown: ``## pattern``, then the text. Raises NotesError where a text is missing or long."""
    found = []
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        if not 1 <= len(lines) <= LINES:
            raise NotesError(f"the note on {heading.strip()!r} has {len(lines)} lines, wanted 1 to {LINES}")
        found.append(Note(heading.strip().strip("`"), " ".join(lines)))
    return found


def read_notes(path: Path) -> list[Note]:
    """Read a file of notes."""
    return parse_notes(path.read_text(encoding="utf-8"))


def assign(notes: Sequence[Note], misses: Sequence[str]) -> dict[str, Note]:
    """Return the first note that covers each miss. Raises NotesError for misses without one and notes without any."""
    assigned = {key: note for key in misses for note in reversed(notes) if note.covers(key)}
    unexplained = [key for key in misses if key not in assigned]
    stale = [note.pattern for note in notes if not any(note.covers(key) for key in misses)]
    problems = [f"no note on the miss: {key}" for key in unexplained]
    problems += [f"the note belongs to no miss: {pattern}" for pattern in stale]
    if problems:
        raise NotesError("\n".join(problems))
    return assigned
