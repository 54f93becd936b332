"""The models of a service: which there are, which is the default, and how far each has come in loading."""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from service.errors import ModelRefusedError, SetupError, UnknownModelError, quote
from service.runtime.manifest import Manifest, ModelFolder, find_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.forecast.forecaster import Forecaster
    from service.runtime.compiled import Compiler
    from service.runtime.cpu import CpuBudget
    from service.runtime.profiles import Profile

BUNDLED_DEFAULT = "patchtst-etth1"
log = logging.getLogger(__name__)


class ServedModel:
    """A model of the service: its manifest at once, its forecaster when it has loaded, or why it has not."""

    def __init__(self, folder: ModelFolder) -> None:
        self.folder = folder
        self.forecaster: Forecaster | None = None
        self.refused: ModelRefusedError | None = None

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self.folder.manifest

    @property
    def name(self) -> str:
        """The name it is asked for by: that of its folder, also after the folder was renamed."""
        return self.folder.path.name

    @property
    def settled(self) -> bool:
        """Whether loading has ended, well or not."""
        return self.forecaster is not None or self.refused is not None

    def describe(self) -> dict[str, Any]:
        """Return what ``ping`` says of the model."""
        manifest = self.manifest
        return {
            "name": self.name,
            "kind": manifest.kind,
            "state": "ready" if self.forecaster else "failed" if self.refused else "loading",
            "error": str(self.refused) if self.refused else None,
            "context": manifest.context,
            "horizon": manifest.horizon,
            "channels": manifest.channels,
            "precision": manifest.precision,
            "batch_sizes": self.forecaster.compiled_counts if self.forecaster else [],
            "in_force": self.forecaster.in_force if self.forecaster else None,
        }


def choose_default(root: Path, names: list[str], wanted: str | None) -> str:
    """Return the name of the default model; raises SetupError when the choice is not clear."""
    if wanted is None and BUNDLED_DEFAULT in names:
        return BUNDLED_DEFAULT
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    if not names:
        raise SetupError(f"no model in {root} can be read: see the messages above, and convert one again")
    what = f"no model {wanted!r} in {root}" if wanted else f"several models in {root}: name one with --default-model"
    raise SetupError(f"{what}; there are: {', '.join(names)}")


class Repository:
    """Finds the models of a folder at once and loads them in a thread, the default model first.

    Raises SetupError when the folder has no model, or none of the default's name.
    """

    def __init__(self, root: Path, default: str | None) -> None:
        self._closing = threading.Event()
        self.models: dict[str, ServedModel] = {}
        for name, path in find_models(root).items():
            try:
                folder = ModelFolder.open(path)
            except ModelRefusedError as error:
                # One damaged manifest must not stop the others; it is an error when it is the default's.
                log.error("%s", error)
                if name == (default or BUNDLED_DEFAULT):
                    raise
                continue
            self.models[name] = ServedModel(folder)
        self.default = choose_default(root, sorted(self.models), default)

    def find(self, name: str | None) -> ServedModel:
        """Return a model by name, or the default; raises UnknownModelError."""
        try:
            return self.models[self.default if name is None else name]
        except KeyError:
            raise UnknownModelError(
                f"model: expected one of {', '.join(sorted(self.models))}, got {quote(name)}", "model"
            ) from None

    def load(self, profile: Profile, budget: CpuBudget, settled: Callable[[ServedModel], object]) -> None:
        """Start loading in the background; ``settled`` is called in that thread after each model."""
        # No daemon: an interpreter that ends in the middle of a compile may crash. close() makes it end soon.
        threading.Thread(target=self._load, args=(profile, budget, settled), name="loader").start()

    def close(self) -> None:
        """Stop loading after the shape at hand."""
        self._closing.set()

    def _load(self, profile: Profile, budget: CpuBudget, settled: Callable[[ServedModel], object]) -> None:
        order = sorted(self.models.values(), key=lambda model: model.name != self.default)
        try:
            # Importing openvino takes as long as compiling a model, so it happens beside the transport's own start.
            from service.forecast.forecaster import Forecaster  # noqa: PLC0415
            from service.runtime.compiled import Compiler  # noqa: PLC0415

            compiler = Compiler(profile, budget)
            for model in order:
                if self._closing.is_set():
                    return
                self._load_one(model, Forecaster(model.folder), compiler)
                settled(model)
            for model in order:
                if model.forecaster:
                    model.forecaster.load_rest(compiler, self._closing.is_set)
            # What is here now stays. To look through it for garbage, which the numbers of JSON windows make Python do
            # every few hundred requests, would stop the service for 40 ms each time.
            gc.collect()
            gc.freeze()
        except Exception as error:
            # Whatever it is, nobody may wait for it for ever.
            log.exception("loading failed")
            for model in order:
                if not model.settled:
                    model.refused = ModelRefusedError(f"{model.folder.path}: {error}")
                    settled(model)

    def _load_one(self, model: ServedModel, forecaster: Forecaster, compiler: Compiler) -> None:
        start = time.monotonic()
        try:
            forecaster.load(compiler)
        except ModelRefusedError as error:
            model.refused = error
            log.error("model %s is refused: %s", model.name, error)
        except Exception as error:
            # Whatever it is, it is this model's fault alone, and nobody may wait for it for ever.
            model.refused = ModelRefusedError(f"{model.folder.path}: {error}")
            log.exception("model %s is refused", model.name)
        else:
            model.forecaster = forecaster
            log.info("model %s is ready after %.0f ms", model.name, (time.monotonic() - start) * 1e3)
