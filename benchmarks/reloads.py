"""A hundred reloads under sixteen clients: is any request lost, or answered by no model that there was?

    python -m benchmarks.reloads

Two models are made of the bundled one: itself, and one whose forecasts are twice as large. By turns each is put in the
place of the other, as a new version (`models/NAME/VERSION/`, and the one before it removed) or in the same folder
(`--layout flat`), and loaded by `POST /v2/repository/models/NAME/load` and by SIGHUP, while sixteen clients ask over
HTTP all the time: windows as JSON and as base64 over our own route, and as tensors in JSON and in bytes. Each reply has
to be one of the two models', bit for bit, and once a reload is answered the new one's. `vinocast stdio` has no reload.

Prints how many requests were answered, how many of them were lost or wrong, their round trips since the row above, and
the resident memory while nobody asks: when the clients have asked for a minute, before the first reload, halfway and at
the end. Exits with 1 where one was lost or wrong, or memory has grown by 10 MB and more.
"""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import numpy as np
import openvino as ov
import orjson
from openvino import opset13 as op
from vinocast.data.bundled import BUNDLED_FORECASTER, bundled_models
from vinocast.data.regular import sha256_file
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE, write_manifest
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.children import PATIENCE
from vinocast.settings import Settings

NAME = BUNDLED_FORECASTER
INFER = f"/v2/models/{NAME}/infer"
TIMES = (1.0, 2.0)
MOST_GROWTH_MB = 10.0
# Of each window there is a request in each form.
WINDOWS, FORMS = 4, 4
# What the clients alone make the heaps grow by comes before the first reload.
WARMING_SECONDS = 60.0
# For what the allocator gives back behind the last answer.
SETTLING_SECONDS = 2.0
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Question:
    """A request, and where its reply has the numbers."""

    path: str
    body: bytes
    headers: dict[str, str]

    def numbers(self, reply: bytes, length: str | None) -> bytes:
        """Return the forecast of a reply as float32; ``length`` is what its header says of the JSON before bytes."""
        if length is not None:
            return reply[int(length) :]
        fields = orjson.loads(reply)
        if "outputs" in fields:
            return np.array(fields["outputs"][0]["data"], "<f4").tobytes()
        if "predictions_b64" in fields:
            return base64.b64decode(fields["predictions_b64"])
        return np.array(fields["predictions"], "<f4").tobytes()


@dataclass
class Seen:
    """What the clients have seen since the row above."""

    milliseconds: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: int = 0


def questions() -> list[Question]:
    """Return a request of each window in each form."""
    made = []
    for window in np.random.default_rng(1).standard_normal((WINDOWS, 512, 7)).cumsum(axis=1).astype("<f4"):
        tensor = {"name": "past_values", "datatype": "FP32", "shape": [1, 512, 7]}
        head = orjson.dumps(
            {
                "inputs": [tensor | {"parameters": {"binary_data_size": window.nbytes}}],
                "parameters": {"binary_data_output": True},
            }
        )
        packed = {"past_values_b64": base64.b64encode(window.tobytes()).decode(), "shape": [512, 7]}
        made += [
            Question("/forecast", orjson.dumps({"past_values": window.tolist()}), JSON),
            Question("/forecast", orjson.dumps(packed | {"encoding_format": "base64"}), JSON),
            Question(
                f"/v2/models/{NAME}/infer", orjson.dumps({"inputs": [tensor | {"data": window.ravel().tolist()}]}), JSON
            ),
            Question(
                INFER,
                head + window.tobytes(),
                {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))},
            ),
        ]
    return made


def make_model(folder: Path, times: float) -> None:
    """Make a model whose forecasts are so many times the bundled one's, without what says how sure it is."""
    source = open_forecaster(bundled_models() / NAME)
    shutil.copytree(source.path, folder, ignore=shutil.ignore_patterns(QUANTILES_FILE))
    graph = ov.Core().read_model(source.path / IR_FILE)
    result = graph.get_results()[0]
    scaled = op.multiply(result.input_value(0), op.constant(np.float32(times)))
    result.input(0).replace_source_output(scaled.output(0))
    ov.save_model(graph, folder / IR_FILE, compress_to_fp16=False)
    with np.load(folder / GOLDEN_FILE) as golden:
        np.savez(folder / GOLDEN_FILE, inputs=golden["inputs"], outputs=golden["outputs"] * np.float32(times))
    files = {name: sha256_file(folder / name) for name in source.manifest.files if name != QUANTILES_FILE}
    write_manifest(folder, source.manifest.model_copy(update={"files": files, "calibration": {}}))


class Folder:
    """The models of a service, of which one changes."""

    def __init__(self, root: Path, layout: Literal["versions", "flat"]) -> None:
        self.models = root / "models"
        self._root = root
        self._layout = layout
        self._count = 0
        for times in TIMES:
            make_model(root / f"{times}", times)
        (self.models / NAME if layout == "versions" else self.models).mkdir(parents=True)
        self.change()

    def change(self) -> float:
        """Put the next model into its place in one step, and return its times."""
        times = TIMES[self._count % len(TIMES)]
        self._count += 1
        made = self._root / "made"
        shutil.copytree(self._root / f"{times}", made)
        place = self.models / NAME
        if self._layout == "versions":
            made.rename(place / str(self._count))
            shutil.rmtree(place / str(self._count - 1), ignore_errors=True)
        else:
            if place.exists():
                place.rename(self._root / "old")
            made.rename(place)
            shutil.rmtree(self._root / "old", ignore_errors=True)
        return times


class Clients:
    """Sixteen clients that ask over and over, each on a connection of its own."""

    def __init__(self, port: int, expected: list[dict[float, bytes]], asked: list[Question], count: int) -> None:
        self._port = port
        self._expected = expected
        self._asked = asked
        self._count = count
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.seen = Seen()

    def start(self) -> None:
        """Begin to ask."""
        self._end.clear()
        self._threads = [threading.Thread(target=self._run, args=(place,)) for place in range(self._count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Seen:
        """Ask no more, and return what was seen."""
        self._end.set()
        for thread in self._threads:
            thread.join()
        seen, self.seen = self.seen, Seen()
        return seen

    def _run(self, place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._end.is_set():
            place = (place + 1) % len(self._asked)
            began = time.perf_counter()
            try:
                status, got = ask(connection, self._asked[place])
            except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
                with self._lock:
                    self.seen.lost.append(repr(error))
                return
            with self._lock:
                self.seen.milliseconds.append((time.perf_counter() - began) * 1e3)
                if status != 200:
                    self.seen.lost.append(got.decode())
                elif got not in self._expected[place].values():
                    self.seen.wrong += 1
        connection.close()


def ask(connection: http.client.HTTPConnection, question: Question) -> tuple[int, bytes]:
    """Return the status of a reply and its numbers, or what it says where it is refused."""
    connection.request("POST", question.path, question.body, question.headers)
    with connection.getresponse() as response:
        reply = response.read()
        length = response.getheader("Inference-Header-Content-Length")
    return response.status, question.numbers(reply, length) if response.status == 200 else reply


def load(service: HttpService, by_signal: bool) -> None:
    """Have the service take up what has changed; raises ClickException where it does not."""
    if by_signal:
        before = service.log.count("is served as its folder has it now")
        os.kill(service.pid, signal.SIGHUP)
        service.wait_until(lambda: service.log.count("is served as its folder has it now") > before, "reloading")
        return
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
    connection.request("POST", f"/v2/repository/models/{NAME}/load", b"{}", JSON)
    with connection.getresponse() as response:
        if response.status != 200:
            raise click.ClickException(response.read().decode())
    connection.close()


def row(name: str, reloads: int, seen: Seen, rss_mb: float) -> str:
    """Return a row of the table."""
    times = np.quantile(seen.milliseconds, [0.5, 0.99, 1]) if seen.milliseconds else [0.0, 0.0, 0.0]
    shown = "".join(f"{value:9.2f}" for value in times)
    return f"{name:10}{reloads:8}{len(seen.milliseconds):10}{len(seen.lost):6}{seen.wrong:7}{shown}{rss_mb:9.1f}"


@click.command(context_settings={"show_default": True})
@click.option("--reloads", type=click.IntRange(2), default=100, help="Of each layout.")
@click.option("--clients", type=click.IntRange(1), default=16, help="That ask at once.")
@click.option(
    "--layout",
    "layouts",
    type=click.Choice(["versions", "flat"]),
    multiple=True,
    default=("versions", "flat"),
    help="One of them alone.",
)
def main(reloads: int, clients: int, layouts: tuple[Literal["versions", "flat"], ...]) -> None:
    """Reload a model under load, and look at every reply."""
    print(
        f"{'layout':10}{'reloads':>8}{'requests':>10}{'lost':>6}{'wrong':>7}{'p50':>9}{'p99':>9}{'longest':>9}{'MB':>9}"
    )
    failed = [layout for layout in layouts if not measure(layout, reloads, clients)]
    sys.exit(bool(failed))


def measure(layout: Literal["versions", "flat"], reloads: int, clients: int) -> bool:
    """Print the rows of a layout; return whether all was as it has to be."""
    # What a parent has ignored would stay so in the service.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    asked = questions()
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name), layout)
        with HttpService(Settings(models=folder.models)) as service:
            service.wait_until(service.wires, "ready")
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)

            def answers(count: int) -> list[bytes]:
                replies = [ask(connection, question) for question in asked[:count]]
                for status, said in replies:
                    if status != 200:
                        raise click.ClickException(said.decode())
                return [numbers for _, numbers in replies]

            # Each model once and the first again: then there is nothing that the first reload alone would bring.
            times, expected = TIMES[0], [dict[float, bytes]() for _ in asked]
            for _ in range(len(TIMES) + 1):
                for place, numbers in enumerate(answers(len(asked))):
                    known = expected[place].setdefault(times, numbers)
                    if known != numbers:
                        raise click.ClickException("the same model answers otherwise after a reload")
                times = folder.change()
                load(service, by_signal=False)
            crowd = Clients(service.port, expected, asked, clients)
            crowd.start()
            time.sleep(WARMING_SECONDS)
            seen = crowd.stop()
            time.sleep(SETTLING_SECONDS)
            before = service.rss_mb
            print(row(layout, 0, seen, before), flush=True)
            good = not (seen.lost or seen.wrong)
            for marks in (range(reloads // 2), range(reloads // 2, reloads)):
                crowd.start()
                late = 0
                for count in marks:
                    times = folder.change()
                    load(service, by_signal=count % 4 == 3)
                    fresh = answers(FORMS)
                    late += sum(numbers != each[times] for numbers, each in zip(fresh, expected, strict=False))
                seen = crowd.stop()
                seen.wrong += late
                time.sleep(SETTLING_SECONDS)
                print(row(layout, marks.stop, seen, service.rss_mb), flush=True)
                for said in seen.lost[:3]:
                    print(f"  lost: {said}")
                good = good and not (seen.lost or seen.wrong)
            grown = service.rss_mb - before
            if grown >= MOST_GROWTH_MB:
                print(f"  memory has grown by {grown:.1f} MB")
            return good and grown < MOST_GROWTH_MB


if __name__ == "__main__":
    main()
