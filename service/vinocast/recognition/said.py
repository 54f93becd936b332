"""What a run says on the way, to its user: lines, warnings, and faults that are counted."""

from __future__ import annotations

import sys
from collections import Counter

# Of the faults of one kind.
SAID = 20


def say(line: str) -> None:
    """Print a line for users and their scripts."""
    print(line, flush=True)  # noqa: T201 - the output of the program


def tell(line: str) -> None:
    """Print a warning or an error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - as above


class Counted:
    """Faults of several kinds, said on standard error as they are met: the first of each kind, then their number."""

    def __init__(self, heading: str) -> None:
        self._heading = heading
        self.counts: Counter[str] = Counter()
        self._said: Counter[str] = Counter()

    def add(self, kind: str, reason: str, count: int = 1) -> None:
        """Count what was skipped, and say why."""
        self.counts[kind] += count
        self._said[kind] += 1
        if self._said[kind] <= SAID:
            tell(f"[WARN] {reason}")

    def say(self) -> None:
        """Say how many there were."""
        if self.counts:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
            tell(f"[WARN] {self._heading}: {kinds}")
