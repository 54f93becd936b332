"""What loads the models of a service: one thread after another, beside the one that serves."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from vinocast.engine.lifecycle import ModelState
from vinocast.errors import InternalError, ModelRefusedError, RequestError, SetupError
from vinocast.process.memory import trim
from vinocast.process.native import NativeThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vinocast.engine.changes import Change
    from vinocast.engine.compile import Compiler
    from vinocast.engine.cpu import CpuBudget
    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.profiles import Profile
    from vinocast.engine.repository import Repository

# How long what has waited for a model that was let go may take to be answered; then its memory goes back later.
PARTING_SECONDS = 5.0
POLL_SECONDS = 0.05
# To a model that nobody waits for: of the list, of the loop over it, and of who counts.
OUR_REFERENCES = 3
log = logging.getLogger(__name__)


class Loader:
    """Loads the models of a repository. Its methods are for one thread, and return at once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._compiler: Compiler | None = None
        self._changes: list[Change] = []

    @property
    def changes(self) -> int:
        """How many changes are under way or wait for their turn."""
        return len(self._changes)

    def load(
        self,
        profile: Profile,
        budget: CpuBudget,
        settled: Callable[[AnyServedModel], object],
        *,
        strict: bool = False,
        on_demand: bool = False,
    ) -> None:
        """Load the models; ``settled`` is called in the thread that does after each.

        With ``strict`` a model is refused in which something else is in force than the profile asks for. With
        ``on_demand`` the models of some kinds are loaded when :meth:`demand` first asks for them.
        """
        self._start = (profile, budget, strict, settled)
        first = self._repository.answering
        models = sorted(self._repository.models, key=lambda model: model not in first)
        self._load([model for model in models if not (on_demand and model.kind.on_demand)])

    def demand(self, model: AnyServedModel) -> None:
        """Have a model loaded that is not yet."""
        if model.lifecycle.state is ModelState.REGISTERED:
            self._load([model])

    def change(self, change: Change, ended: Callable[[], object]) -> None:
        """Have a change made, behind what is under way; ``ended`` is called in the thread that makes it, at its end."""
        self._changes.append(change)
        self._behind(lambda: self._make(change, ended))

    def close(self) -> None:
        """Stop loading after the shape at hand."""
        self._closing.set()

    def _behind(self, work: Callable[[], None]) -> None:
        """Work in a thread that begins when the one before it has ended."""
        before = self._thread

        def run() -> None:
            if before is not None:
                before.join()
            work()

        # close() makes it end soon, unless the shape at hand never ends.
        self._thread = NativeThread(target=run, name="loader")
        self._thread.start()

    def _load(self, models: Sequence[AnyServedModel]) -> None:
        for model in models:
            model.expect()
        self._behind(lambda: self._load_all(models))

    def _load_all(self, models: Sequence[AnyServedModel]) -> None:
        profile, budget, strict, settled = self._start
        try:
            # Importing openvino takes as long as compiling a model, so it happens beside the transport's own start.
            from vinocast.engine.compile import Compiler  # noqa: PLC0415

            if self._compiler is None:
                self._compiler = Compiler(profile, budget, strict=strict)
            waiting = list(models)
            while waiting:
                if self._closing.is_set():
                    return
                model = waiting.pop(0)
                _load_one(model, self._compiler)
                self._repository.review(model.name)
                settled(model)
                if model.refused is not None:  # then the next older version of the same is wanted first
                    waiting.sort(key=lambda other: other.name != model.name)
            for model in models:
                model.load_rest(self._compiler, self._closing.is_set)
            # What is here now stays. To look through it for garbage, which the numbers of JSON windows make Python do
            # every few hundred requests, would stop the service for 40 ms each time.
            gc.collect()
            gc.freeze()
            # The allocator keeps what compiling has freed, 5 MB, unless it is asked to give it back.
            trim()
        except Exception as error:
            # Whatever it is, nobody may wait for it for ever.
            log.exception("loading failed")
            for model in models:
                if model.refuse(error):
                    settled(model)

    def _make(self, change: Change, ended: Callable[[], object]) -> None:
        change.begun = True
        try:
            change.run(self._load_whole, self._closing.is_set)
            _collect(change.let_go)
            change.settle()
        except RequestError as error:
            change.failed = error.without_frames()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next change must have its turn
            change.failed = InternalError.logged(error)
        finally:
            change.done = True
            self._changes.remove(change)  # it may hold what the next lets go of
            ended()

    def _load_whole(self, model: AnyServedModel) -> None:
        """Load a model with all of its shapes, before anything asks for it."""
        if self._compiler is None:  # nothing has been loaded: this cannot be tried
            raise SetupError("no model of the service has been loaded yet")
        _load_one(model, self._compiler)
        model.load_rest(self._compiler, self._closing.is_set)


def _collect(let_go: list[AnyServedModel]) -> None:
    """Give the memory of models back, once what has waited for them is answered; wait for that a while at most.

    It is given back here: it is in some hundred thousand pieces, and would hold up the thread that serves.
    """
    limit = time.monotonic() + PARTING_SECONDS
    while any(sys.getrefcount(model) > OUR_REFERENCES for model in let_go) and time.monotonic() < limit:
        time.sleep(POLL_SECONDS)
    let_go.clear()
    gc.collect()
    trim()


def _load_one(model: AnyServedModel, compiler: Compiler) -> None:
    start = time.monotonic()
    try:
        model.load(compiler)
    except ModelRefusedError as error:
        model.refuse(error)
        log.error("model %s is refused: %s", model.label, error)
    except Exception as error:
        # Whatever it is, it is this model's fault alone, and nobody may wait for it for ever.
        model.refuse(error)
        log.exception("model %s is refused", model.label)
    else:
        log.info("model %s is ready after %.0f ms", model.label, (time.monotonic() - start) * 1e3)
