"""ETTh1, and the protocol by which forecasts of it are compared.

Hourly load of an electricity transformer in six channels, and its oil temperature; from Zhou et al., "Informer"
(AAAI 2021). The first 12 months of 30 days are for training, the next 4 for validation, the next 4 for testing. Every
channel is standardised with the mean and the biased deviation of its training rows, and errors are taken in that unit.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.data.regular import open_regular, read_input
from vinocast.data.splits import Dataset, Split
from vinocast.errors import SetupError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NAME = "ETTh1"
CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
HEADER = ",".join(("date", *CHANNELS))
ROWS = 17_420
SHA256 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"
# Rows to forecast, by split; the rows after the test split are used by nobody.
TARGET_ROWS: dict[Split, tuple[int, int]] = {"train": (0, 8640), "validation": (8640, 11520), "test": (11520, 14400)}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Etth1(Dataset):
    """The data set, or one of its form; ``values`` are float32 [17420, 7] in the unit of the protocol, standardised.

    Its name is ``ETTh1`` where that is the published file's, else the file's name and that it is not.
    """

    values: NDArray[np.float32]
    sha256: str
    name: str = NAME
    columns: Sequence[str] = CHANNELS
    targets: Mapping[Split, tuple[int, int]] = field(default_factory=lambda: TARGET_ROWS)
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(CHANNELS)))
    deviation: NDArray[np.float64] = field(default_factory=lambda: np.ones(len(CHANNELS)))
    division: str = ""
    options: Sequence[str] = ("--data", "ETTh1.csv")
    season: int = 24

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a run that trains on it, as JSON: the rest is the protocol's."""
        return {"name": self.name, "sha256": self.sha256}


def has_its_form(path: Path) -> bool:
    """Whether a file has the header and the number of rows of ETTh1; a pipe, which can be read once, has not.

    Raises SetupError where it cannot be read.
    """
    try:
        if not path.is_file():
            return False
        with open_regular(path) as file:
            return file.readline(len(HEADER) + 3).rstrip(b"\r\n") == HEADER.encode() and sum(1 for _ in file) == ROWS
    except OSError as error:
        raise SetupError(f"{shown(path)}: {error.strerror}") from error


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
    if header.strip() != HEADER:
        raise SetupError(f"{path} is not {NAME}: its first line is {header.strip()[:80]!r}, not {HEADER!r}; {mend}")
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
