"""ETTh1, and the protocol by which forecasts of it are compared.

Hourly load of an electricity transformer in six channels, and its oil temperature; from Zhou et al., "Informer"
(AAAI 2021). The first 12 months of 30 days are for training, the next 4 for validation, the next 4 for testing. Every
channel is standardised with the mean and the biased deviation of its training rows, and errors are taken in that unit.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vinocast.data.regular import read_input
from vinocast.errors import SetupError, shown

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

NAME = "ETTh1"
CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
ROWS = 17_420
SHA256 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"
# Rows to forecast, by split; the rows after the test split are used by nobody.
TARGET_ROWS: dict[Split, tuple[int, int]] = {"train": (0, 8640), "validation": (8640, 11520), "test": (11520, 14400)}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Etth1:
    """The data set, or one of its form, in the unit of the protocol.

    Attributes:
        values: float32 [17420, 7], standardised, oldest row first.
        sha256: hash of the file they were read from.
        name: ``ETTh1`` where that is the published file's, else the file's name and that it is not.
    """

    values: NDArray[np.float32]
    sha256: str
    name: str = NAME

    def rows(self, split: Split, context: int) -> NDArray[np.float32]:
        """Return the rows [rows, 7] that the windows of a split are cut from.

        Validation and test begin with ``context`` rows of the split before, so that their first target row is the
        first that no earlier split has seen as a target. Raises SetupError when there are not so many.
        """
        start, end = TARGET_ROWS[split]
        if split != "train":
            start -= context
        if start < 0:
            raise SetupError(f"{NAME}: a context of {context} rows is longer than all that precedes the {split} split")
        return self.values[start:end]


def read_etth1(path: Path) -> Etth1:
    """Read ETTh1.csv; raises SetupError when it is not that file."""
    mend = "get the file with 'vinocast fetch-data etth1'"
    try:
        data = read_input(path)
        header, _, body = data.decode().partition("\n")
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; {mend}") from error
    except UnicodeDecodeError:
        raise SetupError(f"{path} is not {NAME}: it is not text; {mend}") from None
    expected = ",".join(("date", *CHANNELS))
    if header.strip() != expected:
        raise SetupError(f"{path} is not {NAME}: its first line is {header.strip()[:80]!r}, not {expected!r}; {mend}")
    lines = body.splitlines()
    if len(lines) != ROWS:
        raise SetupError(f"{path} is not {NAME}: it has {len(lines)} rows, not {ROWS}; {mend}")
    try:
        raw = np.loadtxt(lines, delimiter=",", usecols=range(1, len(CHANNELS) + 1), comments=None)
    except ValueError as error:
        raise SetupError(f"{path} is not {NAME}: {error}; {mend}") from None
    if not np.isfinite(raw).all():
        raise SetupError(f"{path} is not {NAME}: it holds a NaN or an infinity; {mend}")
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != SHA256:
        # The sister set ETTh2 has the same header and the same number of rows.
        log.warning("%s looks like %s but is not the published file: figures from it cannot be compared", path, NAME)
    return Etth1(_standardise(raw), sha256, NAME if sha256 == SHA256 else f"{shown(path.name)} (not {NAME})")


def _standardise(raw: NDArray[np.float64]) -> NDArray[np.float32]:
    train = raw[slice(*TARGET_ROWS["train"])]
    values: NDArray[np.float32] = ((raw - train.mean(axis=0)) / train.std(axis=0)).astype(np.float32)
    return values
