"""What several processes have counted: the same sums as prometheus-client makes of the same files, in small parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Where several count is read from the environment when the package is imported, so this is a process of its own.
COUNT = """
import os
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from vinocast.errors import InvalidShapeError, NotFoundError
from vinocast.monitoring.ended import Ended, Origin
from vinocast.monitoring.metrics import Metrics, forget_process
from vinocast.monitoring.summed import summed


def metrics(ready):
    held, counted = {("ready", "One."): lambda: ready}, {("left", "Two."): lambda: 3}
    return Metrics(held, counted, lambda: {"m": "ready"}, lambda: {"m": (7, 5)}, shared=True)


def count(metrics, number):
    # In each process another order, and some that the others lack.
    for index in range(40):
        op = f"op{(index * (number + 2)) % (5 + number)}"
        for error in (None, InvalidShapeError(""), NotFoundError(""))[: 1 + (index + number) % 3]:
            times = (0.0001 * index, "" if error else "m", 0.003 * number, 1e-5)
            metrics(Ended(Origin("http", "/" + op), op, None, error, *times))
    metrics.refresh()


children = []
for number in range(3):
    child = os.fork()
    if not child:
        count(metrics(number), number)
        os._exit(0)
    os.waitpid(child, 0)
    children.append(child)
forget_process(children[1])
own = metrics(1)
own.refresh()


def of(families):
    return {
        (family.name, family.type, family.documentation, sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


right, parts = of(MultiProcessCollector(None).collect()), list(summed())
made = of(part for part in parts if part is not None)
assert made.keys() == right.keys(), made.keys() ^ right.keys()
assert all(abs(made[key] - right[key]) <= 1e-9 for key in right)
assert len(right) > 500 and sum(part is None for part in parts) > 10
assert {value for key, value in made.items() if key[0] == "vinocast_ready"} == {0 + 2 + 1}
pages = [page for page in own.pages() if page]
assert len(pages) > 10 and max(page.count(b"\\n") for page in pages) <= 52
written = {
    (sample.name, frozenset(sample.labels.items())): sample.value
    for family in text_string_to_metric_families(b"".join(pages).decode())
    for sample in family.samples
}
assert written.keys() == {key[3:] for key in right}
"""


def test_the_sums_are_those_of_the_package_and_come_in_small_parts(tmp_path: Path) -> None:
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
