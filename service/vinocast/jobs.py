"""Work in the lane: what each kind of request computes, and how it is answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast import schemas
from vinocast.engine.lane import TOO_LATE
from vinocast.errors import DeadlineExceededError, InternalError, InvalidValueError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from vinocast.engine.lane import Job
    from vinocast.engine.lifecycle import ServedForecaster, ServedRecognizer
    from vinocast.engine.statistics import Statistics
    from vinocast.glyphs.recognizer import Recognizer

    # Called once a request, in the thread that drives the lane: the reply, and the error if it is one.
    Answer = Callable[[bytes, RequestError | None], None]

# A raster takes some 60 us to decode, a grid some 20.
DECODED_TOGETHER = 32
# Warnings in a reply; of more, their number is said.
MOST_WARNINGS = 16


@dataclass(frozen=True, slots=True)
class Caller:
    """Who waits for an answer, and the statistics that count it."""

    echoed: dict[str, Any]
    answer: Answer
    statistics: Statistics

    def refuse(self, error: RequestError) -> None:
        """Answer with an error."""
        self.statistics.failure(error.code)
        self.answer(schemas.failure(self.echoed, error), error)

    def succeed(self, op: str, reply: dict[str, Any]) -> None:
        """Answer with a result."""
        self.statistics.success(op, reply.get("inference_time_ms"), reply.get("queue_time_ms"))
        self.answer(schemas.encode({**self.echoed, **reply, "success": True}), None)


@dataclass(slots=True)
class ForecastJob:
    """One forecast in the lane."""

    caller: Caller
    model: ServedForecaster
    window: NDArray[np.float32]
    # What the reply says of the stream that the window is from; empty for any other.
    newest: dict[str, int | None]
    targets: Sequence[int]
    deadline: float | None
    decoded: float

    @property
    def rows(self) -> int:
        """Series to compute."""
        return len(self.targets)

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self.model.settled

    def fail(self, error: RequestError) -> None:
        """Answer with an error."""
        self.caller.refuse(error)

    def joins(self, first: Job, rows: int) -> bool:
        """Whether one inference can serve both: the same model, and series that it has a compiled shape for."""
        if not isinstance(first, ForecastJob) or first.model is not self.model or self.model.engine is None:
            return False
        return rows <= self.model.engine.most_series

    def run(self, together: Sequence[Job]) -> None:
        """Compute and answer. Whatever goes wrong ends these requests alone."""
        jobs = [job for job in together if isinstance(job, ForecastJob)]
        start = time.monotonic()
        try:
            forecasts, seconds = self.model.loaded().forecast_together([(job.window, job.targets) for job in jobs])
        except RequestError as error:
            for job in jobs:
                job.fail(error)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            internal = InternalError.logged(error)
            for job in jobs:
                job.fail(internal)
        else:
            for job, predictions in zip(jobs, forecasts, strict=True):
                job.succeed(predictions, seconds, start - job.decoded)

    def succeed(self, predictions: NDArray[np.float32], inference_seconds: float, queue_seconds: float) -> None:
        """Answer with a forecast, unless it came out beyond float32."""
        if not np.isfinite(predictions).all():
            self.fail(InvalidValueError("the window's values spread too far for a forecast in float32", "past_values"))
            return
        reply = {
            "predictions": predictions,
            "inference_time_ms": round(inference_seconds * 1e3, 4),
            "queue_time_ms": round(queue_seconds * 1e3, 4),
            "model": self.model.name,
            **self.newest,
        }
        self.caller.succeed("forecast", reply)


class WideForecastJob:
    """A forecast of more series than go through the net together, done in parts. Whatever goes wrong ends it alone."""

    def __init__(self, job: ForecastJob) -> None:
        self._job = job
        self._started: float | None = None
        self._parts: list[NDArray[np.float32]] = []
        self._done = 0
        self._inference_seconds = 0.0
        self._abandoned = False

    @property
    def model(self) -> ServedForecaster:
        """What computes it."""
        return self._job.model

    @property
    def rows(self) -> int:
        """Series to compute."""
        return self._job.rows

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self._job.runnable()

    def abandon(self) -> None:
        """Do no more: nobody waits for the answer."""
        self._abandoned = True

    def run_part(self) -> bool:
        """Compute some series, if the answer is still wanted; answer after the last."""
        job, now = self._job, time.monotonic()
        if self._abandoned:
            return True
        if job.deadline is not None and now > job.deadline:
            late = f"deadline_ms: the deadline passed after {self._done} of {self.rows} series"
            job.fail(DeadlineExceededError(late if self._done else TOO_LATE, "deadline_ms"))
            return True
        if self._started is None:
            self._started = now
        try:
            engine = job.model.loaded()
            targets = job.targets[self._done : self._done + engine.most_series]
            (part,), seconds = engine.forecast_together([(job.window, targets)])
        except RequestError as error:
            job.fail(error)
            return True
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            job.fail(InternalError.logged(error))
            return True
        self._parts.append(part)
        self._done += len(targets)
        self._inference_seconds += seconds
        if self._done < self.rows:
            return False
        job.succeed(np.concatenate(self._parts, axis=1), self._inference_seconds, self._started - job.decoded)
        return True


class GlyphsJob:
    """One glyphs request in the lane: its glyphs are decoded in parts, and recognized in parts.

    What is wrong with any glyph is found before the first is recognized.
    """

    def __init__(
        self,
        caller: Caller,
        model: ServedRecognizer,
        glyphs: list[Any],
        field: str,
        topk: int,
        may_hold_booleans: bool,
        decoded: float,
        *,
        normalize: bool = False,
    ) -> None:
        self._caller = caller
        self._model = model
        self._glyphs = glyphs
        self._field = field
        self._topk = topk
        self._may_hold_booleans = may_hold_booleans
        self._decoded = decoded
        self._normalize = normalize
        self._warnings: list[str] = []
        self._suspected = 0
        self._started: float | None = None
        self._arrays: list[NDArray[Any]] = []
        self._results: list[dict[str, Any]] = []
        self._inference_seconds = 0.0
        self._abandoned = False

    def abandon(self) -> None:
        """Do no more: nobody waits for the answer."""
        self._abandoned = True

    @property
    def model(self) -> ServedRecognizer:
        """What computes it."""
        return self._model

    @property
    def rows(self) -> int:
        """Glyphs to recognize."""
        return len(self._glyphs)

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self._model.settled

    def run_part(self) -> bool:
        """Decode or recognize some glyphs; answer after the last. Whatever goes wrong ends this request alone."""
        if self._abandoned:
            return True
        if self._started is None:
            self._started = time.monotonic()
        try:
            recognizer = self._model.loaded()
            if len(self._arrays) < self.rows:
                self._decode(recognizer, len(self._arrays))
                return False
            self._recognize(recognizer, len(self._results))
            if len(self._results) < self.rows:
                return False
        except RequestError as error:
            self._caller.refuse(error)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self._caller.refuse(InternalError.logged(error))
        else:
            reply: dict[str, Any] = {
                "results": self._results,
                "inference_time_ms": round(self._inference_seconds * 1e3, 4),
                "queue_time_ms": round((self._started - self._decoded) * 1e3, 4),
                "model": self._model.name,
            }
            if self._warnings:
                more = self._suspected - len(self._warnings)
                reply["warnings"] = [*self._warnings, f"rasters: {more} more look wrong"] if more else self._warnings
            self._caller.succeed("glyphs", reply)
        return True

    def _decode(self, recognizer: Recognizer, start: int) -> None:
        # A picture that is to be fitted may take as long as all the others together.
        part = list(enumerate(self._glyphs[start : start + (1 if self._normalize else DECODED_TOGETHER)], start))
        if self._field == "grids":
            for index, glyph in part:
                path = f"grids[{index}]"
                self._arrays.append(recognizer.grid(glyph, path, may_hold_booleans=self._may_hold_booleans))
            return
        rasters = [recognizer.raster(glyph, f"rasters[{index}]", normalize=self._normalize) for index, glyph in part]
        self._arrays += rasters
        mend = (
            "leave a margin of background around it"
            if self._normalize
            else '"normalize": true fits one of any place and colours'
        )
        for index, suspicion in enumerate(recognizer.suspicions(np.stack(rasters)), start):
            if suspicion:
                self._suspected += 1
                if len(self._warnings) < MOST_WARNINGS:
                    self._warnings.append(f"rasters[{index}]: {suspicion}; {mend}")

    def _recognize(self, recognizer: Recognizer, start: int) -> None:
        part = np.stack(self._arrays[start : start + recognizer.most_glyphs])
        recognize = recognizer.recognize_grids if self._field == "grids" else recognizer.recognize_rasters
        results, seconds = recognize(part, self._topk)
        self._results += results
        self._inference_seconds += seconds
