"""Outcomes of one name come in the order in which they were begun, whichever is there first."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from vinocast.engine.in_order import InOrder


@pytest.mark.parametrize("seed", range(20))
def test_outcomes_of_a_name_are_told_in_order_and_each_once(seed: int) -> None:
    told: list[tuple[str, int]] = []
    order, dice = InOrder[tuple[str, int]](told.append, most=1000), random.Random(seed)
    waiting: list[tuple[Callable[[tuple[str, int]], None], tuple[str, int]]] = []
    count = dict.fromkeys("abc", 0)
    for _ in range(300):
        if waiting and dice.random() < 0.5:
            come, outcome = waiting.pop(dice.randrange(len(waiting)))
            come(outcome)
        else:
            name = dice.choice("abc")
            waiting.append((order.begin(name), (name, count[name])))
            count[name] += 1
        for name in "abc":
            numbers = [number for each, number in told if each == name]
            assert numbers == list(range(len(numbers)))
    dice.shuffle(waiting)
    for come, outcome in waiting:
        come(outcome)
    assert sorted(told) == [(name, number) for name in "abc" for number in range(count[name])]


def test_one_that_waits_holds_up_none_of_another_name() -> None:
    told: list[str] = []
    order = InOrder[str](told.append, most=10)
    first, other, second = order.begin("a"), order.begin("b"), order.begin("a")
    second("a2")
    other("b1")
    assert told == ["b1"]
    first("a1")
    assert told == ["b1", "a1", "a2"]
    order.begin("a")("a3")
    assert told[-1] == "a3"


def test_more_than_may_wait_are_told_out_of_their_turn_and_none_is_lost() -> None:
    told: list[int] = []
    order = InOrder[int](told.append, most=3)
    places = [order.begin("a") for _ in range(10)]
    for number in range(1, 10):
        places[number](number)
    assert told == [4, 5, 6, 7, 8, 9]
    places[0](0)
    assert told == [4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
