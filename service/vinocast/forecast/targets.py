"""Which channels of a window are to be forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vinocast.errors import InvalidRequestError, UnknownTargetError, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Channels that an error message names.
MOST_NAMED = 20


class Columns(Protocol):
    """The columns of a window: a model's own, which its manifest names, or others."""

    @property
    def channels(self) -> Sequence[str]:
        """Their names, in their order."""

    @property
    def places(self) -> Mapping[str, int]:
        """The index of each by its name."""


@dataclass(slots=True)
class NamedColumns:
    """The columns of a window that are none of a model's; see :class:`Columns`."""

    channels: Sequence[str]
    places: Mapping[str, int]


def name_columns(names: Sequence[str]) -> NamedColumns:
    """Return the columns of these names; raises InvalidRequestError for one that stands twice."""
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in places:
            path = f"channels[{index}]"
            raise InvalidRequestError(f"{path}: expected each name once, got {quote(name)} again", path)
        places[name] = index
    return NamedColumns(names, places)


def choose_targets(wanted: Sequence[str | int] | None, columns: Columns) -> Sequence[int]:
    """Return channel indices; raises UnknownTargetError, or InvalidRequestError for none, or one named twice."""
    count, places = len(columns.channels), columns.places
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
            names = ", ".join([*columns.channels[:MOST_NAMED], *(["…"] if count > MOST_NAMED else [])])
            raise UnknownTargetError(f"{path}: expected one of {names} or 0..{count - 1}, got {quote(target)}", path)
        if index in indices:
            raise InvalidRequestError(f"{path}: expected each target once, got {quote(target)} again", path)
        indices[index] = None
    return list(indices)
