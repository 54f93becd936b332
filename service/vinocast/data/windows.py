"""Windows: a past and the future that followed it, cut from rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from numpy.lib.stride_tricks import sliding_window_view

from vinocast.errors import SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Windows(NamedTuple):
    """Pasts [n, channels, context] and futures [n, channels, horizon], float32, the oldest step first."""

    pasts: NDArray[np.float32]
    futures: NDArray[np.float32]


def windows(rows: NDArray[np.float32], context: int, horizon: int, stride: int = 1) -> Windows:
    """Cut rows [rows, channels] into every window there is, or every ``stride``-th.

    What is returned are views of the rows.

    Raises:
        SetupError: the rows are fewer than one window needs.
    """
    if len(rows) < context + horizon:
        raise SetupError(f"{len(rows)} rows hold no window of {context} and {horizon} steps")
    cut = sliding_window_view(rows, context + horizon, axis=0)[::stride]
    return Windows(cut[..., :context], cut[..., context:])
