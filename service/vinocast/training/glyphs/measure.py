"""How well the chain reads fonts that it has not seen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.training.glyphs.charset import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.training.glyphs.charset import Character

PAIRS = 40


def measure(
    ranked: NDArray[np.int64],
    truth: NDArray[np.int64],
    families: Sequence[str],
    labels: Sequence[Character],
    groups: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the figures of one split.

    ``ranked`` int64 [n, 5] are the likeliest labels of each raster, ``truth`` [n] its label, ``families`` [n] the name
    it is held out under, ``groups`` [labels] the group of each label. A grouped figure counts a label right when it is
    of the true label's group. Macro-F1 is the mean over the labels of a class that occur, of plain F1.
    """
    plain = ranked[:, 0] == truth
    grouped = groups[ranked] == groups[truth][:, None]
    f1 = _f1(ranked[:, 0], truth, len(labels))
    grouped_f1 = _f1(groups[ranked[:, 0]], groups[truth], len(labels))
    classes = np.array([CLASSES.index(label.char_class) for label in labels])

    def figures(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "rasters": int(rows.sum()),
            "top1": _mean(plain[rows]),
            "top5": _mean((ranked == truth[:, None]).any(1)[rows]),
            "top1_grouped": _mean(grouped[rows, 0]),
            "top5_grouped": _mean(grouped.any(1)[rows]),
        }

    by_class = {}
    for number, name in enumerate(CLASSES):
        own = np.unique(truth[classes[truth] == number])
        if len(own):
            macro = {"macro_f1": _mean(f1[own]), "macro_f1_grouped": _mean(grouped_f1[np.unique(groups[own])])}
            by_class[name] = {"labels": len(own), **figures(classes[truth] == number), **macro}
    names = np.array(families)
    present = np.unique(truth)
    return {
        **figures(np.ones(len(truth), np.bool_)),
        "macro_f1": _mean(f1[present]),
        "macro_f1_grouped": _mean(grouped_f1[np.unique(groups[present])]),
        "by_class": by_class,
        "by_family": {str(name): figures(names == name) for name in np.unique(names)},
        "confusions": _confusions(ranked[:, 0], truth, labels, groups),
    }


def _confusions(
    found: NDArray[np.int64], truth: NDArray[np.int64], labels: Sequence[Character], groups: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return the commonest mistakes between labels of different shapes."""
    wrong = groups[found] != groups[truth]
    counts = Counter(zip(truth[wrong].tolist(), found[wrong].tolist(), strict=True))
    support = np.bincount(truth, minlength=len(labels))
    return [
        {"label": labels[true].label, "taken_for": labels[other].label, "times": times, "of": int(support[true])}
        for (true, other), times in counts.most_common(PAIRS)
    ]


def _f1(found: NDArray[np.int64], truth: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """Return F1 of each label: 2 hits / (times true + times found)."""
    hits = np.bincount(truth[found == truth], minlength=labels)
    either = np.bincount(truth, minlength=labels) + np.bincount(found, minlength=labels)
    return np.asarray(2 * hits / np.maximum(either, 1), np.float64)


def _mean(values: NDArray[Any]) -> float:
    return round(float(values.mean()), 6)
