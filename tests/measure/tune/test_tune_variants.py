"""The rule, on figures as they were measured: what is tried, what the gate drops, which one is chosen."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from vinocast.engine.cpu import CpuBudget
from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILES
from vinocast.measure.tune.variants import (
    Cap,
    Figures,
    Row,
    Variant,
    choose,
    choose_cap,
    default_variant,
    plan,
    problem,
)

TWO_CORES = CpuBudget(frozenset({0, 1}), None)


def row(
    p50: float,
    *,
    p99: float = 5.0,
    cap: Cap = None,
    int8: bool = False,
    precision: Literal["f32", "bf16"] = "f32",
    threads: int = 2,
    refused: str | None = None,
) -> Row:
    variant = Variant(cap, int8, precision, threads, pinned=True)
    return Row(variant, Figures(p50, p99), Figures(p50 / 5, p99 / 5), 1.0, 0.0, 0.0, refused)


def test_every_precision_thread_count_and_pinning_is_tried_once() -> None:
    variants = plan(TWO_CORES, None, bf16=True, int8=True)
    assert len(set(variants)) == len(variants) == 2 * 2 * 2 * 2
    assert {variant.numerics for variant in variants} == {
        (None, int8, precision) for int8 in (False, True) for precision in ("f32", "bf16")
    }
    assert len(plan(TWO_CORES, "AVX2", bf16=False, int8=True)) == 8
    assert len(plan(TWO_CORES, "AVX2", bf16=False, int8=False)) == 4


@pytest.mark.parametrize("quota", [None, 1.5])
@pytest.mark.parametrize("cores", [1, 2, 64])
def test_the_default_profile_is_always_among_them_and_the_budget_is_kept(cores: int, quota: float | None) -> None:
    budget = CpuBudget(frozenset(range(cores)), quota)
    variants = plan(budget, "AVX2", bf16=False, int8=False)
    default = default_variant(budget)
    assert default in variants
    assert max(variant.threads for variant in variants) == min(2, budget.cores)
    assert not any(variant.pinned for variant in variants) or quota is None
    asked = PROFILES[DEFAULT_PROFILE]
    assert default.profile.plugin_config(budget) == asked.plugin_config(budget)
    assert default.profile.isa_cap == asked.isa_cap


@pytest.mark.parametrize(
    ("mse", "passes"), [(1.0, True), (1.0049, True), (1.0051, False), (0.9951, True), (0.99, False)]
)
def test_the_gate_lets_half_a_percent_through_either_way(mse: float, passes: bool) -> None:
    assert (problem(mse, 1.0) is None) is passes


def test_the_gate_lets_nothing_through_that_is_not_finite() -> None:
    for mse in (math.nan, math.inf):
        assert "not finite" in str(problem(mse, 1.0))


def test_with_vnni_int8_wins_and_without_it_loses() -> None:
    native = [row(1.01), row(0.72, precision="bf16"), row(0.60, int8=True), row(0.57, int8=True, precision="bf16")]
    assert choose(native) is native[3]
    capped = [row(1.02, cap="AVX2"), row(2.47, cap="AVX2", int8=True)]
    assert choose(capped) is capped[0]
    assert choose_cap([{"AVX2": capped[0], None: native[3]}], [capped[0]]) is None


def test_what_has_a_problem_is_never_chosen() -> None:
    rows = [row(1.0), row(0.4, int8=True, refused="MSE differs by +0.70 %"), row(math.nan, refused="refused")]
    assert choose(rows) is rows[0]


def test_the_tail_decides_between_what_is_as_fast() -> None:
    rows = [row(1.0, p99=3.0), row(1.02, p99=1.2, threads=1), row(1.04, p99=1.0)]
    assert choose(rows) is rows[1]


def test_other_numbers_must_be_worth_it() -> None:
    exact = row(1.0)
    assert choose([exact, row(0.96, precision="bf16")]) is exact
    faster = row(0.94, precision="bf16")
    assert choose([exact, faster]) is faster


def test_one_cap_serves_all_models_by_their_mean_gain() -> None:
    default = [row(1.0, cap="AVX2"), row(10.0, cap="AVX2")]
    first: dict[Cap, Row] = {"AVX2": default[0], None: row(0.8)}
    second: dict[Cap, Row] = {"AVX2": default[1], None: row(12.0)}
    assert choose_cap([first, second], default) is None  # 1.25 * 0.83 > 1
    second[None] = row(13.0)
    assert choose_cap([first, second], default) == "AVX2"
