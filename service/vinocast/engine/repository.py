"""The models of a service: which there are, which is the default, and the thread that loads them."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar, cast

from vinocast.engine.kinds import Engine, Kind, ServedModel
from vinocast.engine.lifecycle import ModelState
from vinocast.engine.manifest import Manifest, find_models, read_manifest
from vinocast.errors import ModelRefusedError, SetupError, UnknownModelError, in_one_line, quote
from vinocast.process.native import NativeThread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from vinocast.engine.compile import Compiler
    from vinocast.engine.cpu import CpuBudget
    from vinocast.engine.kinds import AnyKind, AnyServedModel
    from vinocast.engine.profiles import Profile

M = TypeVar("M", bound=Manifest)
E = TypeVar("E", bound=Engine)

log = logging.getLogger(__name__)


def choose_default(
    root: Path, lead: AnyKind, names: Sequence[str], wanted: str | None, others: Mapping[str, AnyKind] | None = None
) -> str:
    """Return the name of the default among the models ``names`` of the leading kind.

    Args:
        root: the folder of models, for messages.
        lead: the kind whose models can be the default of a service.
        names: of its models.
        wanted: the name that was asked for.
        others: the models of other kinds.

    Raises:
        SetupError: the choice is not clear.
    """
    others = others or {}
    if wanted is None:
        own = [name for name in names if name != lead.general] or names
        wanted = lead.bundled if lead.bundled in names else own[0] if len(own) == 1 else None
    if wanted is not None and wanted in names:
        return wanted
    if wanted is not None and wanted in others:
        raise SetupError(f"{wanted} is a {others[wanted].noun}: --default-model names a {lead.noun}")
    if not names and others:
        raise SetupError(f"no {lead.noun} in {root}, only {', '.join(others)}: put one beside, such as the bundled one")
    if not names:
        raise SetupError(f"no model in {root} can be read: mend or remove those named above")
    what = f"no model {wanted!r} in {root}" if wanted else f"several models in {root}: name one with --default-model"
    raise SetupError(f"{what}; there are: {', '.join(names)}")


def choose_general(lead: AnyKind, names: Collection[str], wanted: str | None, default: str) -> str:
    """Return the name of what answers, of the leading kind, what no model need know: the general one, if it is there.

    Where a default was asked for by name, that is for everything.
    """
    return lead.general if wanted is None and lead.general is not None and lead.general in names else default


class Reload:
    """What comes of looking at the folder of models again.

    Attributes:
        found: the folders that are looked at, by name.
        changed: the names of models that are served as their folders have them now, and were not before.
        refused: what folders have now that cannot be served, by name; what was served before still is.
        failed: what has ended it before its end, if anything has.
        done: whether all that was found has been looked at.
    """

    def __init__(self, found: Mapping[str, Path]) -> None:
        self.found = found
        self.changed: list[str] = []
        self.refused: dict[str, ModelRefusedError] = {}
        self.failed: list[str] = []
        self.done = False


class Repository:
    """Finds the models of a folder at once and loads them in a thread, the default model first.

    The first of the kinds leads: the default is one of its models. Raises SetupError when the folder has no model of
    it, or none of the default's name.

    Attributes:
        default: the name of the default model.
        general: the name of the default for what no model need know.
        models: every model in the order of loading: the default, those of other kinds, the others of the leading kind.
    """

    def __init__(self, root: Path, default: str | None, kinds: Mapping[str, AnyKind]) -> None:
        self._root = root
        self._kinds = kinds
        self._closing = threading.Event()
        self._loader: threading.Thread | None = None
        self._compiler: Compiler | None = None
        # Folders whose manifest cannot be read: no more is known of them.
        self._unreadable: dict[str, ModelRefusedError] = {}
        self._lead = next(iter(kinds.values()))
        found: list[AnyServedModel] = []
        for name, path in find_models(root).items():
            try:
                folder = read_manifest(path, {kind.name: kind.manifest for kind in kinds.values()})
            except ModelRefusedError as error:
                # One damaged manifest must not stop the others; it is an error when it is the default's.
                log.error("%s", error)
                if name == (default or self._lead.bundled):
                    raise
                self._unreadable[name] = error
                continue
            found.append(ServedModel(kinds[folder.manifest.kind], folder))
        leading = [model.name for model in found if model.kind is self._lead]
        others = {model.name: model.kind for model in found if model.kind is not self._lead}
        self.default = choose_default(root, self._lead, leading, default, others)
        self.general = choose_general(self._lead, {*leading, *self._unreadable}, default, self.default)
        self.models = sorted(found, key=lambda model: (model.name != self.default, model.kind is self._lead))
        self._by_name = {model.name: model for model in found}
        # The model of each kind that answers where a request names none.
        self._defaults = {self._lead.name: self.default}
        for kind in list(kinds.values())[1:]:
            names = [model.name for model in self.of(kind)]
            only = names[0] if len(names) == 1 else kind.bundled
            if only is not None:
                self._defaults[kind.name] = only

    @property
    def widest(self) -> AnyServedModel:
        """The model whose requests take the most bytes."""
        return max(self.models, key=lambda model: model.manifest.request_bytes)

    @property
    def refused(self) -> dict[str, str]:
        """The models that are not served, and why, for whoever has started the service."""
        unreadable = {name: str(error) for name, error in self._unreadable.items()}
        return unreadable | {model.name: model.refused for model in self.models if model.refused is not None}

    @property
    def reasons(self) -> dict[str, str]:
        """The same, for whoever asks over a network."""
        unreadable = {name: error.reason for name, error in self._unreadable.items()}
        return unreadable | {model.name: model.reason for model in self.models if model.refused is not None}

    def of(self, kind: Kind[M, E]) -> list[ServedModel[M, E]]:
        """Return the models of a kind."""
        return [cast("ServedModel[M, E]", model) for model in self.models if model.kind.name == kind.name]

    def find(self, kind: Kind[M, E], name: str | None, *, general: bool = False) -> ServedModel[M, E]:
        """Return a model of a kind by name; raises UnknownModelError.

        Without a name it is the default, with ``general`` that for what no model need know; or, of a kind that does not
        lead, the only one there is or the bundled one.
        """
        if name is None:
            name = self.general if general else self._defaults.get(kind.name)
        model = self._by_name.get(name) if name is not None else None
        if model is not None and model.kind.name == kind.name:
            return cast("ServedModel[M, E]", model)  # the kind says what its models hold and what computes them
        models = [model.name for model in self.of(kind)]
        if name is not None and name in self._unreadable:
            raise UnknownModelError(f"model: {name} is not served: {self._unreadable[name].reason}", "model")
        if not models:
            raise UnknownModelError(f"model: no {kind.noun} is served here", "model")
        raise UnknownModelError(f"model: expected one of {', '.join(sorted(models))}, got {quote(name)}", "model")

    def named(self, name: str, version: str | None = None) -> AnyServedModel:
        """Return a model of any kind by its name and, where that matters, its version; raises UnknownModelError."""
        model = self._by_name.get(name)
        if model is None:
            if name in self._unreadable:
                raise UnknownModelError(f"model: {name} is not served: {self._unreadable[name].reason}", "model")
            raise UnknownModelError(
                f"model: expected one of {', '.join(sorted(self._by_name))}, got {quote(name)}", "model"
            )
        if version is not None and version != model.manifest.version:
            raise UnknownModelError(
                f"version: expected {model.manifest.version}, which is served of model {name}, got {quote(version)}",
                "version",
            )
        return model

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
        ``on_demand`` the models of some kinds are loaded when :meth:`demand` first asks for them.
        """
        self._start = (profile, budget, strict, settled)
        self._load_behind([model for model in self.models if not (on_demand and model.kind.on_demand)])

    def demand(self, model: AnyServedModel) -> None:
        """Have a model loaded that is not yet, beside those that serve; for the thread that called :meth:`load`."""
        if model.lifecycle.state is ModelState.REGISTERED:
            self._load_behind([model])

    def reload(self, name: str | None, ended: Callable[[], object]) -> Reload:
        """Look at the folder again, beside those that serve: what has changed in it is loaded, and takes its place.

        What waits for the old one is computed by it, and what comes after by the new one. Where the new one fails the
        old one stays, degraded, and says why. What the folder has no longer stays as well.

        Args:
            name: of the only model that is looked at; None for all.
            ended: is called in the thread that loads, once all have been looked at.

        Returns what comes of it, which is complete then. Raises UnknownModelError for what is not in the folder.
        """
        try:
            found = find_models(self._root)
        except SetupError as error:
            raise UnknownModelError(f"model: {in_one_line(error)}", "model") from None
        if name is not None and name not in found:
            raise UnknownModelError(f"model: expected one of {', '.join(found)}, got {quote(name)}", "model")
        reload = Reload({each: path for each, path in found.items() if name in (None, each)})
        self._loader = NativeThread(target=self._reload, args=(reload, self._loader, ended), name="loader")
        self._loader.start()
        return reload

    def close(self) -> None:
        """Stop loading after the shape at hand."""
        self._closing.set()

    def _load_behind(self, models: list[AnyServedModel]) -> None:
        """Load models in a thread that begins when the one before it has ended."""
        for model in models:
            model.expect()
        # close() makes it end soon, unless the shape at hand never ends.
        self._loader = NativeThread(target=self._load, args=(models, self._loader), name="loader")
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
                model.load_rest(self._compiler, self._closing.is_set)
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
                if model.refuse(error):
                    settled(model)

    def _reload(self, reload: Reload, before: threading.Thread | None, ended: Callable[[], object]) -> None:
        if before:
            before.join()
        try:
            for name, path in reload.found.items():
                if self._closing.is_set():
                    break
                self._reload_one(reload, name, path)
            if not (reload.changed or reload.refused):
                log.info("no folder of a model has changed")
            # Of the old ones nothing is left but what still waits for them.
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
        except Exception as error:
            log.exception("to look for new models has failed")
            reload.failed.append(in_one_line(error))
        finally:
            reload.done = True
            ended()

    def _reload_one(self, reload: Reload, name: str, path: Path) -> None:
        """Load what a folder holds now, and have it take the place of what it held before, if that is another."""
        old, compiler = self._by_name.get(name), self._compiler
        try:
            folder = read_manifest(path, {kind.name: kind.manifest for kind in self._kinds.values()})
        except ModelRefusedError as error:
            self._stay(reload, name, error)
            return
        as_it_was = old is not None and old.manifest == folder.manifest
        if as_it_was and old is not None and old.lifecycle.state not in (ModelState.REFUSED, ModelState.DEGRADED):
            return
        if old is not None and old.kind.name != folder.manifest.kind:
            self._stay(reload, name, ModelRefusedError(f"{path}: it was a {old.kind.noun}, and is another kind now"))
            return
        model = ServedModel(self._kinds[folder.manifest.kind], folder)
        model.expect()
        if compiler is None:  # nothing has been loaded: this cannot be tried
            raise SetupError("no model of the service has been loaded yet")
        self._load_one(model, compiler)
        model.load_rest(compiler, self._closing.is_set)
        if model.refused is not None:
            self._stay(reload, name, ModelRefusedError(model.refused, model.reason))
            return
        # Whoever looks sees the old one or the new one: each of these is one step.
        self._unreadable = {each: error for each, error in self._unreadable.items() if each != name}
        self.models = [model if each is old else each for each in self.models] + ([] if old else [model])
        self._by_name = {**self._by_name, name: model}
        reload.changed.append(name)
        log.info("model %s is served as its folder has it now, version %s", name, folder.manifest.version)

    def _stay(self, reload: Reload, name: str, error: ModelRefusedError) -> None:
        """Go on with what was served, and say why."""
        reload.refused[name] = error
        old = self._by_name.get(name)
        if old is None:
            self._unreadable = {**self._unreadable, name: error}
        else:
            old.lifecycle.become(ModelState.DEGRADED, f"what its folder has now is refused: {error.reason}")
        log.error("model %s stays as it was: what its folder has now is refused: %s", name, error)

    def _load_one(self, model: AnyServedModel, compiler: Compiler) -> None:
        start = time.monotonic()
        try:
            model.load(compiler)
        except ModelRefusedError as error:
            model.refuse(error)
            log.error("model %s is refused: %s", model.name, error)
        except Exception as error:
            # Whatever it is, it is this model's fault alone, and nobody may wait for it for ever.
            model.refuse(error)
            log.exception("model %s is refused", model.name)
        else:
            log.info("model %s is ready after %.0f ms", model.name, (time.monotonic() - start) * 1e3)
