"""The models of a service: which there are, and which is the default."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar, cast

from vinocast.engine.folders import VERSION, find_models
from vinocast.engine.kinds import UNLOADED, Engine, Kind, ServedModel
from vinocast.engine.lifecycle import ModelState
from vinocast.engine.manifest import Manifest, read_manifest
from vinocast.errors import ModelRefusedError, SetupError, UnknownModelError, quote, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from vinocast.engine.kinds import AnyKind, AnyServedModel

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


class Repository:
    """The models of a folder, which are found at once, and loaded by a ``Loader``.

    The first of the kinds leads: the default is one of its models. Raises SetupError when the folder has no model of
    it, or none of the default's name. A thread may put a model into its place while another looks for it.

    Attributes:
        root: the folder.
        kinds: of the models, by name.
        default: the name of the default model.
        general: the name of the default for what no model need know.
        models: every version of every model: of the default, those of other kinds, the others of the leading kind.
    """

    def __init__(self, root: Path, default: str | None, kinds: Mapping[str, AnyKind]) -> None:
        self.root = root
        self.kinds = kinds
        # What folders hold that cannot be served, by what it would go by: no more is known of it, or what it has
        # replaced on the disk serves on.
        self._faults: dict[str, ModelRefusedError] = {}
        self._lead = next(iter(kinds.values()))
        found: dict[str, list[AnyServedModel]] = {}
        for label, path in find_models(root).items():
            try:
                model = self.open(path, label)
                versions = found.setdefault(model.name, [])
                check_kind(model, versions)
                versions.append(model)
            except ModelRefusedError as error:
                # One damaged manifest must not stop the others; it is an error when it is the default's.
                log.error("%s", error)
                self._faults[label] = ModelRefusedError(str(error), error.reason)  # without frames, which hold models
        wanted = default or self._lead.bundled
        for label, fault in self._faults.items():
            if label.partition("/")[0] == wanted and not found.get(wanted):
                raise fault
        leading = [name for name, (first, *_) in found.items() if first.kind is self._lead]
        others = {name: first.kind for name, (first, *_) in found.items() if first.kind is not self._lead}
        self.default = choose_default(root, self._lead, leading, default, others)
        unreadable = {label.partition("/")[0] for label in self._faults}
        self.general = choose_general(self._lead, {*leading, *unreadable}, default, self.default)
        order = sorted(found, key=lambda name: (name != self.default, name in leading))
        # Of each name its versions, the newest first; the models that there are, in the order of loading.
        self._versions = {name: tuple(found[name]) for name in order}
        self.models = [model for versions in self._versions.values() for model in versions]
        # The model of each kind that answers where a request names none.
        self._defaults = {self._lead.name: self.default}
        for kind in list(kinds.values())[1:]:
            names = [name for name in order if found[name][0].kind is kind]
            only = names[0] if len(names) == 1 else kind.bundled
            if only is not None:
                self._defaults[kind.name] = only

    def open(self, path: Path, label: str) -> AnyServedModel:
        """Return the model of a folder, still to be loaded; raises ModelRefusedError."""
        folder = read_manifest(path, {kind.name: kind.manifest for kind in self.kinds.values()}, label)
        return ServedModel(self.kinds[folder.manifest.kind], folder)

    @property
    def widest(self) -> AnyServedModel:
        """The model whose requests take the most bytes."""
        return max(self.models, key=lambda model: model.manifest.request_bytes)

    @property
    def answering(self) -> list[AnyServedModel]:
        """Of each model the version that answers where none is named."""
        newest = map(_newest, self._versions.values())
        return [model for model in newest if not model.is_unloaded]

    def answering_of(self, kind: Kind[M, E]) -> list[ServedModel[M, E]]:
        """Return those of them that are of a kind and not refused."""
        answering = [model for model in self.answering if model.kind is kind and model.refused is None]
        return cast("list[ServedModel[M, E]]", answering)

    def answers(self, model: AnyServedModel) -> bool:
        """Whether a model is the version that answers where none is named."""
        return model is _newest(self._versions.get(model.name, (model,)))

    @property
    def refused(self) -> dict[str, str]:
        """What is not served, by NAME or NAME/VERSION, and why, for whoever has started the service."""
        return self._not_served(str) | {
            model.label: model.refused for model in self.models if model.refused is not None
        }

    @property
    def reasons(self) -> dict[str, str]:
        """The same, for whoever asks over a network."""
        refused = {model.label: model.reason for model in self.models if model.refused is not None}
        return self._not_served(lambda error: error.reason) | refused

    def _not_served(self, told: Callable[[ModelRefusedError], str]) -> dict[str, str]:
        served = {model.label for model in self.models}
        return {label: told(error) for label, error in self._faults.items() if label not in served}

    def of(self, kind: Kind[M, E]) -> list[ServedModel[M, E]]:
        """Return the models of a kind, every version of them."""
        return [cast("ServedModel[M, E]", model) for model in self.models if model.kind.name == kind.name]

    def versions(self, name: str) -> Sequence[AnyServedModel]:
        """Return the versions of a model by its name, the newest first."""
        return self._versions.get(name, ())

    def find(self, kind: Kind[M, E], name: str | None, *, general: bool = False) -> ServedModel[M, E]:
        """Return a model of a kind by NAME, its newest version that is not refused, or by NAME/VERSION.

        Without a name it is the default, with ``general`` that for what no model need know; or, of a kind that does not
        lead, the only one there is or the bundled one. Raises UnknownModelError.
        """
        if name is None:
            name = self.general if general else self._defaults.get(kind.name)
        model = self._get(name) if name is not None else None
        if model is not None and model.kind.name == kind.name:
            _check_loaded(model)
            return cast("ServedModel[M, E]", model)  # the kind says what its models hold and what computes them
        models = {model.name for model in self.of(kind)}
        if name is not None:
            self._check_known(name, models)
        if not models:
            raise UnknownModelError(f"model: no {kind.noun} is served here", "model")
        raise UnknownModelError(f"model: expected one of {', '.join(sorted(models))}, got {quote(name)}", "model")

    def named(self, name: str, version: str | None = None) -> AnyServedModel:
        """Return a model of any kind by its name and, where that matters, its version; raises UnknownModelError."""
        model = self._get(name if version is None else f"{name}/{version}")
        if model is None:
            self._check_known(name if version is None else f"{name}/{version}", self._versions)
            names = ", ".join(sorted(self._versions))
            raise UnknownModelError(f"model: expected one of {names}, got {quote(name)}", "model")
        _check_loaded(model)
        return model

    def _get(self, name: str) -> AnyServedModel | None:
        """Return a model by NAME or NAME/VERSION."""
        versions = self._versions.get(name)
        if versions is not None:
            return _newest(versions)
        name, _, version = name.partition("/")
        return next((model for model in self._versions.get(name, ()) if model.folder.version == version), None)

    def _check_known(self, name: str, names: Collection[str]) -> None:
        """Raise UnknownModelError that says more where a name is known, but not served, or not in a version."""
        if (fault := self._faults.get(name)) is not None:
            raise UnknownModelError(f"model: {name} is not served: {fault.reason}", "model")
        model, _, version = name.partition("/")
        if version and model in names:
            there = ", ".join(each.folder.version for each in self._versions[model])
            raise UnknownModelError(
                f"version: expected one of {there}, which are there of model {model}, got {quote(version)}", "model"
            )

    def put(self, model: AnyServedModel) -> None:
        """Have a model that has loaded take the place of what it was before, if it was, in one step."""
        self._faults = {label: error for label, error in self._faults.items() if label != model.label}
        others = [each for each in self.versions(model.name) if each.label != model.label]
        versions = sorted([*others, model], key=lambda each: each.folder.age, reverse=True)
        self._take({**self._versions, model.name: tuple(versions)})

    def unload(self, name: str) -> Sequence[AnyServedModel]:
        """Serve no version of a model until it is put again, and return what stands in the place of each."""
        versions = tuple(model if model.is_unloaded else model.unloaded() for model in self.versions(name))
        self._take({**self._versions, name: versions})
        return versions

    def let_go(self, models: Collection[AnyServedModel]) -> None:
        """Serve models no longer: what waits for them is computed, and what comes after knows nothing of them."""
        left = {
            name: tuple(model for model in versions if model not in models) for name, versions in self._versions.items()
        }
        self._take({name: versions for name, versions in left.items() if versions})

    def _take(self, versions: dict[str, tuple[AnyServedModel, ...]]) -> None:
        # Whoever looks sees what was or what is: each of these is one step.
        self._versions = versions
        self.models = [model for each in versions.values() for model in each]

    def set_fault(self, label: str, error: ModelRefusedError | None) -> None:
        """Keep why what a folder has now is not served; None where nothing is wrong with it, or it is gone."""
        faults = {each: fault for each, fault in self._faults.items() if each != label}
        self._faults = faults if error is None else {**faults, label: error}

    @property
    def faults(self) -> list[str]:
        """What folders hold that cannot be served, by NAME or NAME/VERSION."""
        return list(self._faults)

    def review(self, name: str) -> None:
        """Have each version of a model say whether it answers in place of another, and why; for who loads."""
        versions = self.versions(name)
        for model in versions:
            reasons = []
            if (fault := self._faults.get(model.label)) is not None:
                reasons.append(f"what its folder has now is refused: {fault.reason}")
            if self.answers(model):
                newer = {each.folder.age: each.reason for each in versions if each.refused is not None}
                for label, error in self._faults.items():
                    of, _, version = label.partition("/")
                    if of == name and VERSION.fullmatch(version):
                        newer.setdefault(int(version), error.reason)
                reasons += [
                    f"version {age} is refused: {newer[age]}" for age in sorted(newer) if age > model.folder.age
                ]
            model.stand_in("; ".join(reasons) or None)


def check_kind(model: AnyServedModel, others: Sequence[AnyServedModel]) -> None:
    """Raise ModelRefusedError where a model is of another kind than other versions of it."""
    for other in others:
        if other.kind is not model.kind:
            fault = f"it is a {model.kind.noun}, and what is served by its name is a {other.kind.noun}"
            raise ModelRefusedError(f"{shown(model.folder.path)}: {fault}", fault)


def _check_loaded(model: AnyServedModel) -> None:
    """Raise UnknownModelError for a model that somebody has unloaded."""
    if model.is_unloaded:
        raise UnknownModelError(
            f"model: {model.label} is not served: {UNLOADED}, until POST /v2/repository/models/{model.name}/load",
            "model",
        )


def _newest(versions: Sequence[AnyServedModel]) -> AnyServedModel:
    """Return the newest version that is not refused, or of those that all are the newest."""
    for model in versions:
        if model.lifecycle.state is not ModelState.REFUSED:
            return model
    return versions[0]
