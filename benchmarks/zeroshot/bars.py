"""What is to hold over the sets that the bars are set over, as far as they are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.zeroshot.figures import SHORT, TIMED, Measured, Times
from benchmarks.zeroshot.methods import Naive


class Bar(NamedTuple):
    """One thing that is to hold: what it is, its figure, and the least and the most that this may be."""

    text: str
    figure: float
    least: float
    most: float

    @property
    def holds(self) -> bool:
        """Whether it does; what is not known does not."""
        return self.least <= self.figure <= self.most


def bars(measured: Sequence[Measured], model: str, beside: str, times: Mapping[str, Times]) -> Iterator[Bar]:
    """Return the bars of a model, whose time is compared with that of another."""
    stated = [each for each in measured if each.found.stated]
    for title, figure, mean in (("MAE", "mae", 0.9), ("WQL", "wql", 0.84)):
        parts = {each.found.data.name: part(each, model, figure) for each in stated}
        worst = max(parts, key=parts.__getitem__)
        yield Bar(f"{title} over the naive's, geometric mean of {len(parts)} sets", geometric(parts.values()), 0, mean)
        yield Bar(f"{title} over the naive's, worst set: {worst}", parts[worst], 0, 1.05)
    for each in stated:
        yield Bar(f"80 % bands, {each.found.data.name}", each.figures[model].coverage["80 %"], 0.76, 0.84)
        yield Bar(f"90 % bands, calibrated, {each.found.data.name}", each.calibrated["90 %"], 0.88, 0.92)
    for points in SHORT:
        shorter = geometric([each.short[points] for each in stated])
        yield Bar(f"MAE over the naive's, {points} points, geometric mean", shorter, 0, 1)
    yield from time_bars(model, beside, times)


def time_bars(model: str, beside: str, times: Mapping[str, Times]) -> Iterator[Bar]:
    """Return those of its time alone."""
    one, seven = TIMED
    yield Bar("infer() of one series, ms", times[model].inference[one], 0, 0.35)
    ratio = times[model].inference[seven] / times[beside].inference[seven]
    yield Bar(f"infer() of {seven} series over that of {beside}", ratio, 0, 1.5)


def part(measured: Measured, method: str, figure: str) -> float:
    """Return a method's figure over the seasonal naive's."""
    own, naive = (getattr(measured.figures[name], figure) for name in (method, Naive.name))
    return float(own / naive)


def geometric(values: Iterable[float]) -> float:
    """Return the geometric mean; NaN where one is."""
    return float(np.exp(np.mean(np.log(list(values)))))
