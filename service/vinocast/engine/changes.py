"""What changes in the models of a service while they serve: a folder that is looked at again, a model unloaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vinocast.engine.folders import find_models
from vinocast.engine.lifecycle import ModelState
from vinocast.engine.repository import check_kind
from vinocast.errors import (
    InvalidRequestError,
    ModelRefusedError,
    SetupError,
    UnknownModelError,
    in_one_line,
    quote,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.repository import Repository

log = logging.getLogger(__name__)


class Change:
    """What is done by the thread that loads, and what comes of it.

    Attributes:
        let_go: what is not served any more, until its memory is given back.
        failed: what has ended it before its end; None where nothing has.
        done: whether it has ended.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.let_go: list[AnyServedModel] = []
        self.failed: str | None = None
        self.done = False

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:
        """Do it; ``load`` loads a model whole, and once ``closing`` says True no other is to be loaded."""
        raise NotImplementedError

    def settle(self) -> None:
        """Do what remains once the memory of what was let go is given back."""


class Unload(Change):
    """A model that is no longer served, in any version, until it is loaded by name.

    Raises UnknownModelError where there is none, InvalidRequestError where it is one that requests without a name need.
    """

    def __init__(self, repository: Repository, name: str) -> None:
        super().__init__(repository)
        there = {model.name for model in repository.models}
        if name not in there:
            raise UnknownModelError(f"model: expected one of {', '.join(sorted(there))}, got {quote(name)}", "model")
        if name in (repository.default, repository.general):
            what = "requests that name none" if name == repository.default else "series and columns of any names"
            raise InvalidRequestError(f"model: expected another than {name}, which answers {what}", "model")
        self._name = name
        self._empty: Sequence[AnyServedModel] = ()

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:  # noqa: ARG002 - nothing is loaded
        """Have what comes from now on be refused."""
        self.let_go += self._repository.versions(self._name)
        self._empty = self._repository.unload(self._name)
        log.info("model %s is unloaded", self._name)

    def settle(self) -> None:
        """Say that it is gone."""
        for model in self._empty:
            model.lifecycle.become(ModelState.UNLOADED)


class Reload(Change):
    """What comes of looking at the folder of models again. Raises UnknownModelError for what is not in it.

    Args:
        repository: of the folder.
        name: of the only model that is looked at, all versions of it; None for all but those that are unloaded.

    Attributes:
        changed: what is served as its folder has it now, and was not before, by NAME or NAME/VERSION.
        refused: what folders have now that cannot be served, the same way; what was served before still is.
    """

    def __init__(self, repository: Repository, name: str | None) -> None:
        super().__init__(repository)
        try:
            found = find_models(repository.root)
        except SetupError as error:
            raise UnknownModelError(f"model: {in_one_line(error)}", "model") from None
        self._found: dict[str, dict[str, Path]] = {}
        self._there = set(found)
        for label, path in found.items():
            self._found.setdefault(label.partition("/")[0], {})[label] = path
        if name is not None:
            if name not in self._found:
                names = ", ".join(self._found)
                raise UnknownModelError(f"model: expected one of {names}, got {quote(name)}", "model")
            self._found = {name: self._found[name]}
        else:
            unloaded = {model.name for model in repository.models if model.is_unloaded}
            self._found = {each: found for each, found in self._found.items() if each not in unloaded}
        self.changed: list[str] = []
        self.refused: dict[str, ModelRefusedError] = {}

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:
        """Have what has changed loaded whole by ``load``, one model after another until ``closing`` says True."""
        repository = self._repository
        for label in repository.faults:
            if label not in self._there:
                repository.set_fault(label, None)
                repository.review(label.partition("/")[0])
        for name, found in self._found.items():
            for label, path in found.items():
                if closing():
                    return
                try:
                    self._look(label, path, load)
                except ModelRefusedError as refused:
                    error = ModelRefusedError(str(refused), refused.reason)  # without frames, which hold the models
                    self.refused[label] = error
                    repository.set_fault(label, error)
                    log.error("what the folder of %s has now is refused, and what was served stays: %s", label, error)
                else:
                    repository.set_fault(label, None)
                repository.review(name)
            self._part(name, found)
        if not (self.changed or self.refused or self.let_go):
            log.info("no folder of a model has changed")

    def _look(self, label: str, path: Path, load: Callable[[AnyServedModel], None]) -> None:
        """Have what a folder holds now take the place of what it held before, if that is another.

        Raises ModelRefusedError where that cannot be served.
        """
        versions = self._repository.versions(label.partition("/")[0])
        model = self._repository.open(path, label)
        check_kind(model, versions)
        old = next((each for each in versions if each.label == label), None)
        if old is not None and old.sound and old.manifest == model.manifest:
            return
        model.expect()
        load(model)
        if model.refused is not None:
            raise ModelRefusedError(model.refused, model.reason)
        self._repository.put(model)
        if old is not None:
            self.let_go.append(old)
        self.changed.append(label)
        log.info("model %s is served as its folder has it now, version %s", label, model.folder.version)

    def _part(self, name: str, found: dict[str, Path]) -> None:
        """Let go of what a model's folder has no longer, where what it has answers."""
        repository = self._repository
        gone = [model for model in repository.versions(name) if model.label not in found]
        if gone and any(model.engine is not None for model in repository.versions(name) if model not in gone):
            repository.let_go(gone)
            self.let_go += gone
            log.info("no longer served, as their folders are gone: %s", ", ".join(model.label for model in gone))
        repository.review(name)
