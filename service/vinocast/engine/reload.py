"""A folder of models that is looked at again while what was in it serves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vinocast.engine.kinds import ServedModel
from vinocast.engine.lifecycle import ModelState
from vinocast.engine.manifest import find_models, read_manifest
from vinocast.errors import ModelRefusedError, SetupError, UnknownModelError, in_one_line, quote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.repository import Repository

log = logging.getLogger(__name__)


class Reload:
    """What comes of looking at the folder of models again. Raises UnknownModelError for what is not in it.

    Args:
        repository: of the folder.
        name: of the only model that is looked at; None for all.

    Attributes:
        changed: the names of models that are served as their folders have them now, and were not before.
        refused: what folders have now that cannot be served, by name; what was served before still is.
        failed: what has ended it before its end; None where nothing has.
        done: whether all that was found has been looked at.
    """

    def __init__(self, repository: Repository, name: str | None) -> None:
        try:
            found = find_models(repository.root)
        except SetupError as error:
            raise UnknownModelError(f"model: {in_one_line(error)}", "model") from None
        if name is not None and name not in found:
            raise UnknownModelError(f"model: expected one of {', '.join(found)}, got {quote(name)}", "model")
        self._repository = repository
        self._found = {each: path for each, path in found.items() if name in (None, each)}
        self.changed: list[str] = []
        self.refused: dict[str, ModelRefusedError] = {}
        self.failed: str | None = None
        self.done = False

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:
        """Have what has changed loaded whole by ``load``, one model after another until ``closing`` says True."""
        for name, path in self._found.items():
            if closing():
                return
            try:
                self._look(path, load)
            except ModelRefusedError as error:
                self.refused[name] = error
                self._repository.stay(name, error)
        if not (self.changed or self.refused):
            log.info("no folder of a model has changed")

    def _look(self, path: Path, load: Callable[[AnyServedModel], None]) -> None:
        """Have what a folder holds now take the place of what it held before, if that is another.

        Raises ModelRefusedError where that cannot be served.
        """
        kinds = self._repository.kinds
        folder = read_manifest(path, {kind.name: kind.manifest for kind in kinds.values()})
        model = ServedModel(kinds[folder.manifest.kind], folder)
        old = self._repository.get(model.name)
        if old is not None and old.kind is not model.kind:
            raise ModelRefusedError(f"{path}: it was a {old.kind.noun}, and is another kind now")
        if old is not None and old.manifest == folder.manifest and old.lifecycle.state is ModelState.READY:
            return
        model.expect()
        load(model)
        if model.refused is not None:
            raise ModelRefusedError(model.refused, model.reason)
        self._repository.put(model)
        self.changed.append(model.name)
        log.info("model %s is served as its folder has it now, version %s", model.name, folder.manifest.version)
