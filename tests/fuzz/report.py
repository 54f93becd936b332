"""What came of a run: counts, and each fault once with the bytes that made it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST_SHOWN = 600
# What the log may hold only if something is broken.
BROKEN = ("Traceback", "internal error", "Exception", "never awaited", "never retrieved")


@dataclass
class Report:
    """What came of a run.

    Attributes:
        name: what was run.
        sent: requests that must be answered.
        good: of these, right ones that were answered right.
        lost: that were not answered.
        doubled: replies too many.
        codes: how many were answered in which way.
        faults: how often each was met.
        samples: the first bytes that made it.
    """

    name: str
    sent: int = 0
    good: int = 0
    lost: int = 0
    doubled: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    samples: dict[str, bytes] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether anything was not as it must be."""
        return bool(self.lost or self.doubled or self.faults)

    def wrong(self, what: str, sample: bytes) -> None:
        """Count a fault."""
        self.faults[what] += 1
        self.samples.setdefault(what, sample)

    def lose(self, what: str, sample: bytes) -> None:
        """Count a request that was not answered."""
        self.lost += 1
        self.wrong(what, sample)

    def read_log(self, log: str) -> None:
        """Count what the service's log tells of a fault of its own."""
        for line in log.splitlines():
            if any(word in line for word in BROKEN):
                self.wrong(f"log: {line[:160]}", b"")

    def __str__(self) -> str:
        rows = [
            f"{self.name}: {self.sent} sent, {self.good} right ones right, {self.lost} lost, {self.doubled} doubled"
        ]
        rows += [f"  {count:9}  {code}" for code, count in self.codes.most_common()]
        rows += [f"  FAULT {count:5}  {what}" for what, count in self.faults.most_common()]
        rows += [f"    {what}: {self.samples[what][:MOST_SHOWN]!r}" for what in self.faults if self.samples[what]]
        return "\n".join(rows)
