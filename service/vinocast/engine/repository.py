"""The models of a service: which there are, which is the default, and how far each has come in loading."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time
from typing import TYPE_CHECKING

from vinocast.engine.lifecycle import served_forecaster, served_recognizer
from vinocast.engine.manifest import (
    BUNDLED_FORECASTER,
    BUNDLED_GLYPHS,
    GlyphsManifest,
    ModelFolder,
    find_models,
    open_model,
)
from vinocast.errors import ModelRefusedError, SetupError, UnknownModelError, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vinocast.engine.compile import Compiler
    from vinocast.engine.cpu import CpuBudget
    from vinocast.engine.lifecycle import AnyServedModel, ServedForecaster, ServedRecognizer
    from vinocast.engine.profiles import Profile

log = logging.getLogger(__name__)


def choose_default(root: Path, names: list[str], wanted: str | None, others: Sequence[str] = ()) -> str:
    """Return the name of the default among the forecasters ``names``; raises SetupError when the choice is not clear.

    ``others`` are the models that are no forecasters.
    """
    if wanted is None and BUNDLED_FORECASTER in names:
        return BUNDLED_FORECASTER
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    if wanted in others:
        raise SetupError(f"{wanted} is a glyph model: --default-model names a forecaster")
    if not names and others:
        raise SetupError(f"no forecaster in {root}, only {', '.join(others)}: put one beside, such as the bundled one")
    if not names:
        raise SetupError(f"no model in {root} can be read: mend or remove those named above")
    what = f"no model {wanted!r} in {root}" if wanted else f"several models in {root}: name one with --default-model"
    raise SetupError(f"{what}; there are: {', '.join(names)}")


class Repository:
    """Finds the models of a folder at once and loads them in a thread, the default model first.

    Raises SetupError when the folder has no model, or none of the default's name.
    """

    def __init__(self, root: Path, default: str | None) -> None:
        self._closing = threading.Event()
        self._loader: threading.Thread | None = None
        self._compiler: Compiler | None = None
        self._forecasters: dict[str, ServedForecaster] = {}
        self._recognizers: dict[str, ServedRecognizer] = {}
        # Folders whose manifest cannot be read: no more is known of them.
        self._unreadable: dict[str, ModelRefusedError] = {}
        for name, path in find_models(root).items():
            try:
                folder = open_model(path)
            except ModelRefusedError as error:
                # One damaged manifest must not stop the others; it is an error when it is the default's.
                log.error("%s", error)
                if name == (default or BUNDLED_FORECASTER):
                    raise
                self._unreadable[name] = error
                continue
            if isinstance(folder.manifest, GlyphsManifest):
                self._recognizers[name] = served_recognizer(ModelFolder(path, folder.manifest))
            else:
                self._forecasters[name] = served_forecaster(ModelFolder(path, folder.manifest))
        self.default = choose_default(root, sorted(self._forecasters), default, sorted(self._recognizers))

    @property
    def models(self) -> list[AnyServedModel]:
        """Every model in the order of loading: the default, glyph models, the other forecasters."""
        forecasters = sorted(self._forecasters.values(), key=lambda model: model.name != self.default)
        return [forecasters[0], *self._recognizers.values(), *forecasters[1:]]

    @property
    def widest(self) -> ServedForecaster:
        """The forecaster whose window takes the most bytes."""
        return max(self._forecasters.values(), key=lambda model: model.manifest.window_bytes)

    @property
    def recognizers(self) -> list[ServedRecognizer]:
        """The glyph models."""
        return list(self._recognizers.values())

    @property
    def refused(self) -> dict[str, ModelRefusedError]:
        """The models that are not served, and why."""
        return self._unreadable | {model.name: model.refused for model in self.models if model.refused}

    def forecaster(self, name: str | None) -> ServedForecaster:
        """Return a forecaster by name, or the default; raises UnknownModelError."""
        try:
            return self._forecasters[self.default if name is None else name]
        except KeyError:
            self._check_readable(name)
            raise UnknownModelError(
                f"model: expected one of {', '.join(sorted(self._forecasters))}, got {quote(name)}", "model"
            ) from None

    def recognizer(self, name: str | None) -> ServedRecognizer:
        """Return a glyph chain by name, or the bundled or only one there is; raises UnknownModelError."""
        names = sorted(self._recognizers)
        if name is None:
            name = names[0] if len(names) == 1 else BUNDLED_GLYPHS
        if name in self._recognizers:
            return self._recognizers[name]
        self._check_readable(name)
        if not names:
            raise UnknownModelError("model: no glyph model is served here", "model")
        raise UnknownModelError(f"model: expected one of {', '.join(names)}, got {quote(name)}", "model")

    def _check_readable(self, name: str | None) -> None:
        """Raise UnknownModelError for a model whose manifest cannot be read."""
        if name in self._unreadable:
            raise UnknownModelError(f"model: {name} is not served: {self._unreadable[name]}", "model") from None

    def load(
        self,
        profile: Profile,
        budget: CpuBudget,
        settled: Callable[[AnyServedModel], object],
        *,
        strict: bool = False,
        on_demand: bool = False,
    ) -> None:
        """Start loading in the background; ``settled`` is called in that thread after each model.

        With ``strict`` a model is refused in which something else is in force than the profile asks for. With
        ``on_demand`` a glyph model is loaded when :meth:`demand` first asks for it.
        """
        self._start = (profile, budget, strict, settled)
        later = set(self._recognizers) if on_demand else set()
        self._load_behind([model for model in self.models if model.name not in later])

    def demand(self, model: AnyServedModel) -> None:
        """Have a model loaded that is not yet; for the thread that called :meth:`load`."""
        if not model.demanded:
            self._load_behind([model])

    def close(self) -> None:
        """Stop loading after the shape at hand."""
        self._closing.set()

    def _load_behind(self, models: list[AnyServedModel]) -> None:
        """Load models in a thread that begins when the one before it has ended."""
        for model in models:
            model.demanded = True
        # No daemon: an interpreter that ends in the middle of a compile may crash. close() makes it end soon.
        self._loader = threading.Thread(target=self._load, args=(models, self._loader), name="loader")
        self._loader.start()

    def _load(self, models: list[AnyServedModel], before: threading.Thread | None) -> None:
        if before:
            before.join()
        profile, budget, strict, settled = self._start
        try:
            # Importing openvino takes as long as compiling a model, so it happens beside the transport's own start.
            from vinocast.engine.compile import Compiler  # noqa: PLC0415

            if self._compiler is None:
                self._compiler = Compiler(profile, budget, strict=strict)
            for model in models:
                if self._closing.is_set():
                    return
                self._load_one(model, self._compiler)
                settled(model)
            for model in models:
                if model.engine:
                    model.engine.load_rest(self._compiler, self._closing.is_set)
            # What is here now stays. To look through it for garbage, which the numbers of JSON windows make Python do
            # every few hundred requests, would stop the service for 40 ms each time.
            gc.collect()
            gc.freeze()
            # The allocator keeps what compiling has freed, 5 MB, unless it is asked to give it back.
            ctypes.CDLL(None).malloc_trim(0)
        except Exception as error:
            # Whatever it is, nobody may wait for it for ever.
            log.exception("loading failed")
            for model in models:
                if not model.settled:
                    model.refused = ModelRefusedError(f"{model.folder.path}: {error}")
                    settled(model)

    def _load_one(self, model: AnyServedModel, compiler: Compiler) -> None:
        start = time.monotonic()
        try:
            model.load(compiler)
        except ModelRefusedError as error:
            model.refused = error
            log.error("model %s is refused: %s", model.name, error)
        except Exception as error:
            # Whatever it is, it is this model's fault alone, and nobody may wait for it for ever.
            model.refused = ModelRefusedError(f"{model.folder.path}: {error}")
            log.exception("model %s is refused", model.name)
        else:
            log.info("model %s is ready after %.0f ms", model.name, (time.monotonic() - start) * 1e3)
