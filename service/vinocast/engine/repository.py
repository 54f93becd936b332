"""The models of a service: which there are, and which is the default."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar, cast

from vinocast.engine.kinds import Engine, Kind, ServedModel
from vinocast.engine.lifecycle import ModelState
from vinocast.engine.manifest import Manifest, find_models, read_manifest
from vinocast.errors import ModelRefusedError, SetupError, UnknownModelError, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
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
        models: every model in the order of loading: the default, those of other kinds, the others of the leading kind.
    """

    def __init__(self, root: Path, default: str | None, kinds: Mapping[str, AnyKind]) -> None:
        self.root = root
        self.kinds = kinds
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

    def get(self, name: str) -> AnyServedModel | None:
        """Return the model of a name, if there is one."""
        return self._by_name.get(name)

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

    def put(self, model: AnyServedModel) -> None:
        """Have a model that has loaded take the place of the one of its name, if there is one, in one step."""
        old = self._by_name.get(model.name)
        # Whoever looks sees the old one or the new one: each of these is one step.
        self._unreadable = {name: error for name, error in self._unreadable.items() if name != model.name}
        self.models = [model if each is old else each for each in self.models] + ([] if old else [model])
        self._by_name = {**self._by_name, model.name: model}

    def stay(self, name: str, error: ModelRefusedError) -> None:
        """Go on with what is served by a name, if anything is, and say why what its folder has now is not."""
        old = self._by_name.get(name)
        if old is None:
            self._unreadable = {**self._unreadable, name: error}
        else:
            old.lifecycle.become(ModelState.DEGRADED, f"what its folder has now is refused: {error.reason}")
        log.error("model %s stays as it was: what its folder has now is refused: %s", name, error)
