"""What a message changes beside what it tells: nothing, where one of its products refuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from vinocast.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

Product = TypeVar("Product")
# What a product does before it takes what it has checked.
Change: TypeAlias = Callable[[], None]


def change_all(products: Iterable[Product], check: Callable[[Product], Change | None]) -> None:
    """Have all products of a message check what is theirs; then, where none refuses it, do what is to be done before.

    Raises what the first is refused by. The others are checked all the same: each has its own first refusal.
    """
    changes: list[Change | None] = []
    refused: RequestError | None = None
    for product in products:
        try:
            changes.append(check(product))
        except RequestError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    for change in changes:
        if change is not None:
            change()
