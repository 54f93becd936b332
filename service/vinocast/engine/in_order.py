"""What becomes of several things of one name, told in the order in which they were begun."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class _Place(Generic[T]):
    """In a line: what has come of it, one or nothing."""

    __slots__ = ("come",)

    def __init__(self) -> None:
        self.come: tuple[T, ...] = ()


class InOrder(Generic[T]):
    """Outcomes that wait until those that were begun before them, of the same name, have been told. For one thread.

    Args:
        tell: takes each outcome; it must not raise.
        most: outcomes that wait at most, of all names; what comes beyond is told at once, out of its turn.
    """

    def __init__(self, tell: Callable[[T], None], most: int) -> None:
        self._tell = tell
        self._most = most
        self._held = 0
        self._lines: dict[str, deque[_Place[T]]] = {}

    def begin(self, name: str) -> Callable[[T], None]:
        """Return what is to be called with the outcome of something that is begun now, once."""
        line = self._lines.setdefault(name, deque())
        place: _Place[T] = _Place()
        line.append(place)

        def come(outcome: T) -> None:
            first = line[0] is place
            if not first and self._held < self._most:
                place.come = (outcome,)
                self._held += 1
                return
            line.remove(place)
            self._tell(outcome)
            while first and line and line[0].come:
                self._held -= 1
                self._tell(*line.popleft().come)
            if not line:
                self._lines.pop(name, None)

        return come
