"""A kind of models, as the runtime knows it, and one model of a service: its manifest, its state, what computes it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from vinocast.engine.lifecycle import MODEL_STEPS, Lifecycle, ModelState
from vinocast.engine.manifest import Manifest, ModelFolder
from vinocast.errors import UNTOLD, ModelRefusedError, ShuttingDownError, UnknownModelError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vinocast.engine.compile import Compiler


log = logging.getLogger(__name__)


class Engine(Protocol):
    """A loaded model. Loading is in steps, so that the first answer need not wait for every shape."""

    @property
    def compiled_counts(self) -> list[int]:
        """The batch sizes that are compiled."""

    @property
    def in_force(self) -> dict[str, Any]:
        """The properties read back from the compiled model."""

    @property
    def warnings(self) -> list[str]:
        """What a user should know of how the model runs."""

    @property
    def precision(self) -> str:
        """Of the weights that are served, which a tuned profile may have chosen."""

    def load(self, compiler: Compiler) -> None:
        """Make the model usable; raises ModelRefusedError."""

    def load_rest(self, compiler: Compiler, stop: Callable[[], bool]) -> None:
        """Compile the shapes that are still missing, until ``stop`` says True."""

    def summary(self) -> Sequence[str]:
        """Return what ``doctor`` says of a model that is loaded whole: a line on what it is first, then figures."""


M_co = TypeVar("M_co", bound=Manifest, covariant=True)
E_co = TypeVar("E_co", bound=Engine, covariant=True)


@dataclass(frozen=True)
class Kind(Generic[M_co, E_co]):
    """A kind of models.

    Attributes:
        name: as manifests have it.
        noun: what a message calls a model of this kind.
        manifest: what its manifests hold.
        create: returns what computes a model, still to be loaded.
        bundled: the name of the model that comes with the package, which stands in where a request names none.
        general: the same for what no model need know, where that is another.
        on_demand: whether a service for a parent process loads it for the first request that asks for it.
    """

    name: str
    noun: str
    manifest: type[M_co]
    create: Callable[[ModelFolder[Any]], E_co]
    bundled: str | None = None
    general: str | None = None
    on_demand: bool = False


class ServedModel(Generic[M_co, E_co]):
    """A model of the service: its manifest at once, its engine when it has loaded, or why it has not.

    Attributes:
        kind: what it is.
        folder: its folder, with its manifest.
        name: what it is asked for by: NAME.
        label: what it is asked for by whoever wants no other version: NAME/VERSION, or NAME where there is but one.
        engine: what computes it, from the moment at which it is ready.
        lifecycle: how far it has come.
        reason: why it is not served, where it is refused, for whoever asks over a network.
    """

    def __init__(self, kind: Kind[M_co, E_co], folder: ModelFolder[M_co]) -> None:
        self.kind = kind
        self.folder = folder
        self.name, self.label = folder.name, folder.label
        self.engine: E_co | None = None
        self.lifecycle = Lifecycle(ModelState.REGISTERED, MODEL_STEPS)
        self.reason = UNTOLD
        self._given_up = False
        # Why it is not all that was asked for: by its own fault, and as it answers in place of another.
        self._faults: list[str] = []
        self._stands_in: str | None = None

    @property
    def manifest(self) -> M_co:
        """The model's manifest."""
        return self.folder.manifest

    @property
    def sound(self) -> bool:
        """Whether it answers, and all is in force as was asked for."""
        return self.engine is not None and not self._faults

    @property
    def settled(self) -> bool:
        """Whether loading has ended, well or not, or nobody waits for its end any more."""
        return self._given_up or self.lifecycle.state in SETTLED

    @property
    def refused(self) -> str | None:
        """Why it is not served; None where it is, or may still be."""
        return self.lifecycle.reason if self.lifecycle.state is ModelState.REFUSED else None

    def expect(self) -> bool:
        """Say that the model is about to be loaded; returns False where it is already, or has been."""
        return self.lifecycle.become(ModelState.LOADING)

    def load(self, compiler: Compiler) -> None:
        """Load the engine; raises ModelRefusedError."""
        engine = self.kind.create(self.folder)
        engine.load(compiler)
        self.engine = engine
        self._faults += engine.warnings
        self._answer()

    def load_rest(self, compiler: Compiler, stop: Callable[[], bool]) -> None:
        """Compile what is still missing, until ``stop`` says True; where that fails, what is there serves on."""
        if self.engine is None:
            return
        try:
            self.engine.load_rest(compiler, stop)
        except ModelRefusedError as error:
            log.error("model %s goes on with batches of %s: %s", self.label, self.engine.compiled_counts, error)
            self._faults.append(str(error))
            self._answer()

    def stand_in(self, reason: str | None) -> None:
        """Say why it answers in place of what should, for the thread that loads; None where nothing else should."""
        if self.engine is not None and reason != self._stands_in:
            self._stands_in = reason
            self._answer()

    def _answer(self) -> None:
        reasons = "; ".join(filter(None, (*self._faults, self._stands_in)))
        self.lifecycle.become(ModelState.DEGRADED if reasons else ModelState.READY, reasons or None)

    def refuse(self, error: Exception) -> bool:
        """Give a model that was to be loaded up, for a cause; returns False where it has been loaded or given up."""
        if not isinstance(error, ModelRefusedError):
            error = ModelRefusedError(f"{self.folder.path}: {in_one_line(error)}")
        if self.lifecycle.state is not ModelState.LOADING:
            return False
        self.reason = error.reason
        return self.lifecycle.become(ModelState.REFUSED, str(error))

    def give_up(self) -> None:
        """Have what waits for the model wait no longer, as the service ends and the model still loads."""
        self._given_up = True

    def unloaded(self) -> ServedModel[M_co, E_co]:
        """Return what stands in the place of a model while it is not to answer: the same without what computes it.

        What waits for the model keeps it until it is computed; then its memory is free.
        """
        empty = ServedModel(self.kind, self.folder)
        empty.reason = UNLOADED
        empty.lifecycle.become(ModelState.UNLOADING)
        return empty

    @property
    def is_unloaded(self) -> bool:
        """Whether it is :meth:`unloaded`."""
        return self.lifecycle.state in NOT_LOADED

    def loaded(self) -> E_co:
        """Return the engine of a settled model; raises UnknownModelError when it was refused.

        Raises ShuttingDownError when it was given up.
        """
        if self.engine is None and self._given_up:
            raise ShuttingDownError(f"the service is shutting down, and model {self.label} has not loaded")
        if self.engine is None:
            raise UnknownModelError(f"model: {self.label} is not served: {self.reason}", "model")
        return self.engine


# What is said of such a model, as others who speak the Open Inference Protocol say it.
UNLOADED = "unloaded"
NOT_LOADED = (ModelState.UNLOADING, ModelState.UNLOADED)
SETTLED = (ModelState.READY, ModelState.DEGRADED, ModelState.REFUSED, *NOT_LOADED)
AnyKind: TypeAlias = "Kind[Manifest, Engine]"
AnyServedModel: TypeAlias = "ServedModel[Manifest, Engine]"
