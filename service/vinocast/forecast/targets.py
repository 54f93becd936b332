"""Which channels of a window are to be forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.errors import InvalidRequestError, UnknownTargetError, quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.forecast.manifest import ForecasterManifest

# Channels that an error message names.
MOST_NAMED = 20


def choose_targets(wanted: Sequence[str | int] | None, manifest: ForecasterManifest) -> Sequence[int]:
    """Return channel indices; raises UnknownTargetError, or InvalidRequestError for none, or one named twice."""
    count, places = len(manifest.channels), manifest.places
    if wanted is None:
        return range(count)
    if not len(wanted):
        raise InvalidRequestError("targets: expected a channel's name or index at least, got an empty array", "targets")
    indices: dict[int, None] = {}  # in their order
    for position, target in enumerate(wanted):
        path = f"targets[{position}]"
        if isinstance(target, int) and 0 <= target < count:
            index = target
        elif isinstance(target, str) and target in places:
            index = places[target]
        else:
            names = ", ".join([*manifest.channels[:MOST_NAMED], *(["…"] if count > MOST_NAMED else [])])
            raise UnknownTargetError(f"{path}: expected one of {names} or 0..{count - 1}, got {quote(target)}", path)
        if index in indices:
            raise InvalidRequestError(f"{path}: expected each target once, got {quote(target)} again", path)
        indices[index] = None
    return list(indices)
