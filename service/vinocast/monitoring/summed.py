"""What several processes have counted in the files of one folder, added up a little at a time.

prometheus-client would do it in one piece of ten milliseconds and more, for which every forecast would wait. All that
is counted here is a sum, so what stands under the same key of two files is added before it is looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict

from vinocast.monitoring.shared_folder import FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of keys, which take a microsecond or two each.
AT_ONCE = 100
# They are names of ours alone, and fewer than so many.
read_key = lru_cache(1 << 14)(json.loads)


def summed() -> Iterator[Metric | None]:
    """Yield each family of metrics that stands in the folder, and None wherever others may have their turn."""
    totals: defaultdict[tuple[str, str], float] = defaultdict(float)
    for file in Path(os.environ[FOLDER_VARIABLE]).glob("*.db"):
        kind = file.name.partition("_")[0]
        with contextlib.suppress(FileNotFoundError):  # of a process that has ended meanwhile
            values = MmapedDict.read_all_values_from_file(file)  # type: ignore[no-untyped-call]  # as the package has it
            for number, (key, value, *_) in enumerate(values, 1):
                totals[kind, key] += value
                if number % AT_ONCE == 0:
                    yield None
        yield None
    families: dict[str, Metric] = {}
    for number, ((kind, key), value) in enumerate(totals.items(), 1):
        name, sample, labels, text = read_key(key)
        family = families.get(name)
        if family is None:
            family = families[name] = Metric(name, text, kind)
        family.add_sample(sample, labels, value)
        if number % AT_ONCE == 0:
            yield None
    for family in families.values():
        if family.type == "histogram":
            _accumulate(family)
        yield family


def _accumulate(family: Metric) -> None:
    """Have each bucket of a histogram hold what those below it do, and add the counts.

    In the files the buckets of a child ascend, as they were made.
    """
    counts: defaultdict[tuple[str, ...], float] = defaultdict(float)
    samples, family.samples = family.samples, []
    for sample in samples:
        bound, labels = sample.labels.get("le"), {name: each for name, each in sample.labels.items() if name != "le"}
        value = sample.value
        if bound is not None:
            child = tuple(labels.values())
            counts[child] += value
            value = counts[child]
        family.add_sample(sample.name, sample.labels, value)
        if bound == "+Inf":
            family.add_sample(f"{family.name}_count", labels, value)
