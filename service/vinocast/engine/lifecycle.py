"""One model of a service: how far it has come in loading, and what computes once it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from vinocast.engine.manifest import ForecasterManifest, GlyphsManifest, Manifest, ModelFolder
from vinocast.errors import ModelRefusedError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vinocast.engine.compile import Compiler
    from vinocast.forecast.forecaster import Forecaster
    from vinocast.glyphs.recognizer import Recognizer


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


M_co = TypeVar("M_co", bound=Manifest, covariant=True)
E_co = TypeVar("E_co", bound=Engine, covariant=True)


class ServedModel(Generic[M_co, E_co]):
    """A model of the service: its manifest at once, its engine when it has loaded, or why it has not."""

    def __init__(self, folder: ModelFolder[M_co], create: Callable[[], E_co]) -> None:
        self.folder = folder
        self.engine: E_co | None = None
        self.refused: ModelRefusedError | None = None
        self.demanded = False  # whether it is to be loaded
        self._create = create

    @property
    def manifest(self) -> M_co:
        """The model's manifest."""
        return self.folder.manifest

    @property
    def name(self) -> str:
        """The name it is asked for by: that of its folder, also after the folder was renamed."""
        return self.folder.path.name

    @property
    def settled(self) -> bool:
        """Whether loading has ended, well or not."""
        return self.engine is not None or self.refused is not None

    def load(self, compiler: Compiler) -> None:
        """Load the engine; raises ModelRefusedError."""
        engine = self._create()
        engine.load(compiler)
        self.engine = engine

    def loaded(self) -> E_co:
        """Return the engine of a settled model; raises UnknownModelError when it was refused."""
        if self.engine is None:
            raise UnknownModelError(f"model: {self.name} is not served: {self.refused}", "model")
        return self.engine

    def _state(self) -> str:
        if self.settled:
            return "ready" if self.engine else "failed"
        return "loading" if self.demanded else "not_loaded"

    def describe(self) -> dict[str, Any]:
        """Return what ``ping`` says of the model; ``warnings`` where there are any."""
        warnings = self.engine.warnings if self.engine else []
        return {
            "name": self.name,
            "kind": self.manifest.kind,
            "state": self._state(),
            "error": str(self.refused) if self.refused else None,
            **self.manifest.described(),
            "precision": self.engine.precision if self.engine else self.manifest.precision,
            "batch_sizes": self.engine.compiled_counts if self.engine else [],
            "in_force": self.engine.in_force if self.engine else None,
            **({"warnings": warnings} if warnings else {}),
        }


AnyServedModel: TypeAlias = "ServedModel[Manifest, Engine]"
ServedForecaster: TypeAlias = "ServedModel[ForecasterManifest, Forecaster]"
ServedRecognizer: TypeAlias = "ServedModel[GlyphsManifest, Recognizer]"


# The engines are imported when they are created, in the loading thread: importing openvino takes as long as compiling
# a model, and so happens beside the transport's own start.
def served_forecaster(folder: ModelFolder[ForecasterManifest]) -> ServedForecaster:
    """Return a forecaster that is still to be loaded."""

    def create() -> Forecaster:
        from vinocast.forecast.forecaster import Forecaster  # noqa: PLC0415

        return Forecaster(folder)

    return ServedModel(folder, create)


def served_recognizer(folder: ModelFolder[GlyphsManifest]) -> ServedRecognizer:
    """Return a glyph chain that is still to be loaded."""

    def create() -> Recognizer:
        from vinocast.glyphs.recognizer import Recognizer  # noqa: PLC0415

        return Recognizer(folder)

    return ServedModel(folder, create)
