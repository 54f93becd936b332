"""The budget of bytes: what is taken is given back, large claims leave room for small ones, and none waits for ever."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vinocast.engine.budget import LEFT_FREE, Budget, Claim
from vinocast.errors import OverloadedError

MIB = 1 << 20


def test_large_claims_leave_a_quarter_to_small_ones() -> None:
    budget = Budget(64 * MIB)
    large = [Claim(budget) for _ in range(64)]
    refused = 0
    for claim in large:
        try:
            claim.hold(4 * MIB)
        except OverloadedError:
            refused += 1
    assert (budget.taken, refused) == (48 * MIB, 52)
    for _ in range(100):
        Claim(budget).hold(40_000)
    assert budget.taken == 48 * MIB + 4_000_000


def test_however_large_the_claims_are_that_wait_smaller_ones_have_room() -> None:
    budget = Budget(256 * MIB)
    for nbytes in (8 * MIB, 1 << 17, 1 << 14, 1 << 11):
        with contextlib.suppress(OverloadedError):
            while True:
                Claim(budget).hold(nbytes)
        Claim(budget).hold(nbytes // 64)
        assert budget.most - budget.taken >= LEFT_FREE * (nbytes // 64)


def test_any_claim_fits_where_nothing_else_waits_and_grows_there() -> None:
    budget = Budget(100)
    claim = Claim(budget)
    claim.hold(1000)
    claim.hold(2000)
    other = Claim(budget)
    with pytest.raises(OverloadedError, match=r"no room for 1 bytes \(2000 of 100 that may wait are taken\)"):
        other.hold(1)
    claim.release()
    other.hold(1)
    assert budget.taken == 1


def test_a_claim_that_may_not_grow_keeps_what_it_holds_and_may_always_shrink() -> None:
    budget = Budget(1000)
    first, second = Claim(budget), Claim(budget)
    first.hold(500)
    second.hold(100)
    with pytest.raises(OverloadedError):
        second.hold(600)
    assert (second.nbytes, budget.taken) == (100, 600)
    first.must_hold(5000)  # of what is there already
    second.hold(50)
    assert budget.taken == 5050


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["hold", "must_hold", "release"]), st.integers(0, 20_000))),
)
def test_the_budget_is_the_sum_of_its_claims_and_stands_at_0_when_all_are_released(
    most: int, steps: list[tuple[int, str, int]]
) -> None:
    budget = Budget(most)
    claims = [Claim(budget) for _ in range(10)]
    for index, step, nbytes in steps:
        claim = claims[index]
        before = [each.nbytes for each in claims]
        if step == "release":
            claim.release()
        elif step == "must_hold":
            claim.must_hold(nbytes)
        else:
            try:
                claim.hold(nbytes)
            except OverloadedError:
                assert [each.nbytes for each in claims] == before
            else:
                grown = nbytes > before[index]
                assert not grown or budget.taken <= most or budget.taken == nbytes
        assert budget.taken == sum(each.nbytes for each in claims)
    for claim in claims:
        claim.release()
    assert budget.taken == 0
