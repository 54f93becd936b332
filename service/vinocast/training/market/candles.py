"""What a market model is trained on: candles of one product as the seven channels that are served, divided by time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.data.regular import sha256_file
from vinocast.data.splits import SPLITS, TEST_SHARE, VALIDATION_SHARE, divide_at
from vinocast.data.tables.candles import read_candles
from vinocast.data.times.days import SECOND
from vinocast.data.times.moment import read_moment
from vinocast.errors import SetupError, shown
from vinocast.extras import install_line
from vinocast.market.channels import WARM_UP, Indicators, find_fault, seven

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vinocast.data.splits import Split

CONTEXT, HORIZON = 512, 96
# So many candles in a row without a trade are filling, of a market that trades at all: they are dropped.
FILLING = 12
# Windows of a split below which nothing can be chosen or measured by it.
LEAST_WINDOWS = 200


@dataclass(frozen=True)
class MarketData:
    """Closed bars of one product, oldest first.

    Attributes:
        name: of the file.
        sha256: of the file.
        seconds: the length of a bar.
        rows: float32 [n, 7], the channels as they are served.
        times: int64 [n], the starts of the bars in unix seconds.
        targets: the first row of each split that is forecast, and that behind the last.
        options: the words that say to a command how it was divided.
        notes: what was found in the file and dropped, a sentence each.
    """

    name: str
    sha256: str
    seconds: int
    rows: NDArray[np.float32]
    times: NDArray[np.int64]
    targets: Mapping[Split, tuple[int, int]]
    options: list[str]
    notes: list[str]

    @property
    def bar(self) -> str:
        """The length of a bar as a market stream has it."""
        for unit, seconds in (("h", 3600), ("m", 60)):
            if self.seconds % seconds == 0:
                return f"{self.seconds // seconds}{unit}"
        return f"{self.seconds}s"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides what is learned of it, as JSON."""
        return {"name": self.name, "sha256": self.sha256, "bar": self.bar, "targets": dict(self.targets)}

    def begins(self, split: Split) -> NDArray[np.int64]:
        """Return the first target row of every window of a split; its context may lie in the split before."""
        first, behind = self.targets[split]
        return np.arange(max(first, CONTEXT), behind - HORIZON + 1)

    def span(self, split: Split) -> tuple[str, str]:
        """Return the times of the first and the last target row of a split."""
        first, behind = self.targets[split]
        return _text(self.times[first]), _text(self.times[behind - 1])


def read_market(
    path: Path,
    validation_share: float | None = None,
    test_share: float | None = None,
    validation_from: str | None = None,
    test_from: str | None = None,
) -> MarketData:
    """Read candles and divide them by time, by shares or by moments in UTC.

    Copies that a change of the clock has left, which the reader of tables finds, are dropped, and so are rows of
    FILLING candles or more without a trade. What is behind a hole follows what is before it. RSI, MACD and volatility
    are those that a market stream has, and the rows before they are known are dropped.

    Raises:
        SetupError: the file is no table of candles, or has too few for a division, or there is no TA-Lib.
    """
    if (fault := find_fault()) is not None:
        raise SetupError(f"TA-Lib cannot be imported ({fault}): {install_line()}")
    table = read_candles(path)
    filling = _filling(table.rows)
    notes = list(table.notes)
    if filling.any():
        first, last = (_text(int(time)) for time in table.rows[filling, 0][[0, -1]])
        notes.append(f"{int(filling.sum())} candles without a trade, from {first} to {last}, are filling: dropped")
    times, low, high, _, close, volume = table.rows[~filling].T
    if not (np.isfinite(table.rows).all() and (low > 0).all() and (high >= low).all() and (volume >= 0).all()):
        raise SetupError(f"{table.source}: expected prices above 0, no low above its high, and no volume below 0")
    rows = seven(np.stack((close, high, low, volume)), Indicators().values(close))[WARM_UP:]
    starts = times.astype(np.int64)[WARM_UP:]
    words: list[str] = []
    behind = len(rows)
    for option, share, moment, usual in (
        ("test", test_share, test_from, TEST_SHARE),
        ("validation", validation_share, validation_from, VALIDATION_SHARE),
    ):
        part = usual if share is None else share
        if moment is None:
            behind -= round(len(rows) * part)
        else:
            behind = int(np.searchsorted(starts, _seconds(moment, f"--{option}-from")))
        said = ("share", f"{part:g}") if moment is None else ("from", moment)
        words = [f"--{option}-{said[0]}", said[1], *words]
        if option == "test":
            test = behind
    try:
        targets = divide_at(len(rows), behind, test)
    except SetupError as error:
        raise SetupError(f"{table.source}: {error}") from None
    name = shown(path.name)
    data = MarketData(
        name, sha256_file(path), table.seconds, rows, starts, targets, ["--data", name, *words], notes
    )  # fmt: skip
    for split in SPLITS:
        if (count := len(data.begins(split))) < LEAST_WINDOWS:
            raise SetupError(
                f"{table.source}: the {split} part has {max(0, count)} windows of {CONTEXT} bars and {HORIZON} behind "
                f"them, fewer than {LEAST_WINDOWS}: give it more candles"
            )
    return data


def _filling(candles: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which candles [n, 6] are of a run of FILLING or more that no trade was in."""
    _, low, high, _, _, volume = candles.T
    flat = np.concatenate(([False], (volume == 0) & (low == high), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    found = np.zeros(len(candles), bool)
    for first, behind in edges.reshape(-1, 2):
        found[first:behind] = behind - first >= FILLING
    return found


def _seconds(text: str, option: str) -> int:
    try:
        return read_moment(text).utc // SECOND
    except ValueError as error:
        raise SetupError(f"{option}: {error}") from None


def _text(seconds: int) -> str:
    return str(np.datetime64(int(seconds), "s")).replace("T", " ")[:16]
