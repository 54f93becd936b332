"""An op and a kind of models that Vinocast does not have, added by registration alone; ``python -m toys`` is the
program ``vinocast`` with both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field
from vinocast.cli import main
from vinocast.dataplane import DataPlane, Op, Route, Ticket
from vinocast.engine.compile import Compiler
from vinocast.engine.kinds import Kind, ServedModel
from vinocast.engine.lane import Job
from vinocast.engine.manifest import Manifest, ModelFolder
from vinocast.errors import RequestError
from vinocast.kinds import register as register_kind
from vinocast.ops import register as register_op
from vinocast.protocols.replies import Reply
from vinocast.protocols.schemas import Envelope
from vinocast.requests import Computed

FACTOR_FILE = "factor.json"


class ScalerManifest(Manifest):
    """``manifest.json`` of a model that multiplies."""

    required = (FACTOR_FILE,)
    computes = required

    kind: Literal["scaler"] = "scaler"
    unit: str

    def described(self) -> dict[str, Any]:
        return {"unit": self.unit}


class Scaler:
    """What computes it."""

    precision = "f32"

    def __init__(self, folder: ModelFolder[ScalerManifest]) -> None:
        self.compiled_counts = [1]
        self.in_force = {"INFERENCE_PRECISION_HINT": "f32", "KERNEL_ISA": "avx2"}
        self.warnings: list[str] = []
        self.folder = folder
        self.factor = 0.0

    def load(self, compiler: Compiler) -> None:
        self.folder.verify()
        self.factor = orjson.loads((self.folder.path / FACTOR_FILE).read_bytes())

    def load_rest(self, compiler: Compiler, stop: Callable[[], bool]) -> None:
        pass

    def summary(self) -> Sequence[str]:
        return ["multiplies"]


SCALER: Kind[ScalerManifest, Scaler] = Kind("scaler", "scaler", ScalerManifest, Scaler, on_demand=True)


@dataclass(slots=True)
class Scaled(Computed):
    values: list[float]


class ScaleRequest(Envelope):
    """Numbers to multiply."""

    op: Literal["scale"] | None = Field(default=None, description='"scale"')
    values: list[float] = Field(description="an array of numbers", max_length=1000, fail_fast=True)
    model: str | None = Field(default=None, description="a string, the name of a scaler", max_length=256)


class ScaleReply(Reply):
    values: list[float]
    model: str
    inference_time_ms: float
    queue_time_ms: float


@dataclass
class ScaleJob:
    ticket: Ticket
    model: ServedModel[ScalerManifest, Scaler]
    values: list[float]
    asked: float
    rows: int = 1
    deadline: float | None = None

    def runnable(self) -> bool:
        return self.model.settled

    def joins(self, first: Job, rows: int) -> bool:
        return False

    def run(self, together: Sequence[Job]) -> None:
        start = time.monotonic()
        try:
            factor = self.model.loaded().factor
        except RequestError as error:
            self.fail(error)
            return
        scaled = [value * factor for value in self.values]
        self.ticket.succeed(Scaled(self.model.name, time.monotonic() - start, start - self.asked, scaled))

    def fail(self, error: RequestError) -> None:
        self.ticket.refuse(error)


def scale(plane: DataPlane, request: ScaleRequest, ticket: Ticket) -> None:
    model = plane.repository.find(SCALER, request.model)
    plane.loader.demand(model)
    plane.lane.submit(ScaleJob(ticket, model, request.values, time.monotonic()))


class HugeRequest(Envelope):
    """Nothing; the answer cannot be written as JSON."""

    op: Literal["huge"] | None = Field(default=None, description='"huge"')


def huge(plane: DataPlane, request: HugeRequest, ticket: Ticket) -> None:
    ticket.succeed({"number": 2**70})


def make_scaler(folder: Path, factor: float) -> None:
    """Write a model of the kind, hashes and all."""
    from vinocast.data.regular import sha256_file
    from vinocast.engine.manifest import Source, write_manifest

    folder.mkdir(parents=True)
    (folder / FACTOR_FILE).write_bytes(orjson.dumps(factor))
    manifest = ScalerManifest(
        name=folder.name,
        precision="f32",
        golden_tolerance=1,
        unit="m",
        files={FACTOR_FILE: sha256_file(folder / FACTOR_FILE)},
        source=Source(name="a test", sha256={}, options={}),
        tools={},
    )
    write_manifest(folder, manifest)


register_kind(SCALER)
register_op(Op("huge", HugeRequest, Reply, huge))
register_op(
    Op(
        "scale",
        ScaleRequest,
        ScaleReply,
        scale,
        waits=True,
        computes=True,
        kind=SCALER.name,
        route=Route("POST", "/scale", "Multiply numbers"),
        example=lambda _context, channels: {"values": [1.5, len(channels)]},
    )
)

if __name__ == "__main__":
    main(prog_name="vinocast")
