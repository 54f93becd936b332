"""Windows: a past and the future that followed it, cut from rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.lib.stride_tricks import sliding_window_view

from vinocast.errors import SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def windows(
    rows: NDArray[np.float32], context: int, horizon: int, stride: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut rows [rows, channels] into every window there is, or every ``stride``-th.

    Returns:
        The pasts [n, channels, context] and the futures [n, channels, horizon], views of the rows, oldest step first.

    Raises:
        SetupError: the rows are fewer than one window needs.
    """
    if len(rows) < context + horizon:
        raise SetupError(f"{len(rows)} rows hold no window of {context} and {horizon} steps")
    cut = sliding_window_view(rows, context + horizon, axis=0)[::stride]
    return cut[..., :context], cut[..., context:]
