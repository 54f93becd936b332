"""What a message changes beside what it tells: nothing, where one of its products refuses it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from vinocast.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Product = TypeVar("Product")
# What a product does before it takes what it has checked.
Change: TypeAlias = Callable[[], None]


def check_all(checks: Iterable[Callable[[], Change | None]]) -> Change | None:
    """Have all be checked; return what is to be done before what they check is taken.

    Raises what the first is refused by. The others are checked all the same: each has its own first refusal.
    """
    changes: list[Change] = []
    refused: RequestError | None = None
    for check in checks:
        try:
            change = check()
        except RequestError as error:
            refused = refused or error
        else:
            if change is not None:
                changes.append(change)
    if refused is not None:
        raise refused
    return partial(_do, changes) if changes else None


def _do(changes: Iterable[Change]) -> None:
    for change in changes:
        change()


def change_all(products: Sequence[Product], check: Callable[[Product], Change | None]) -> None:
    """Have all products of a message check what is theirs; then, where none refuses it, do what is to be done before.

    Raises as :func:`check_all` does.
    """
    # Most are of one alone.
    alone = len(products) == 1
    change = check(products[0]) if alone else check_all([partial(check, product) for product in products])
    if change is not None:
        change()
