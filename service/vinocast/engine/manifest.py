"""A model's folder: its manifest, the hashes of its files, its golden vectors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from vinocast.errors import ModelRefusedError, SetupError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST_FILE = "manifest.json"
IR_FILE = "model.xml"
WEIGHTS_FILE = "model.bin"
PHASE1_IR_FILE = "phase1.xml"
PHASE2_IR_FILE = "phase2.xml"
LABEL_MAP_FILE = "label_map.json"
CHARS_FILE = "chars.csv"
GOLDEN_FILE = "golden.npz"

BUNDLED_FORECASTER = "patchtst-etth1"
BUNDLED_GLYPHS = "glyphs"
BUNDLED = (BUNDLED_FORECASTER, BUNDLED_GLYPHS)

# A number of 17 digits with sign, point, exponent and comma takes 25; there is room for an indent.
BYTES_A_NUMBER = 32
BYTES_BESIDE = 1 << 16

Precision = Literal["f32", "f16", "int8"]


class Source(BaseModel):
    """What a model was made from; the same source and options again make the same model."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="hub id or the name of the source folder")
    sha256: dict[str, str] = Field(description="hash of each file of the source that decides the result")
    options: dict[str, str] = Field(description="conversion options that decide the result")


class Metric(BaseModel):
    """An accuracy figure and the protocol it was measured by."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    split: str
    protocol: str
    windows: int
    mse: float
    mae: float


class Manifest(BaseModel):
    """What every ``manifest.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    # Files that a model of this kind cannot do without.
    required: ClassVar[tuple[str, ...]]

    kind: str
    name: str
    precision: str
    version: str = "1"
    golden_tolerance: float = Field(gt=0, description="largest difference from the golden vectors that is accepted")
    files: dict[str, str] = Field(description="sha256 of every other file of the folder")
    source: Source
    tools: dict[str, str] = Field(description="versions of the tools that made the model")
    command: str | None = Field(default=None, description="the command that made the weights, for a model trained here")

    def described(self) -> dict[str, Any]:
        """Return what a client must know to ask."""
        raise NotImplementedError


class ForecasterManifest(Manifest):
    """``manifest.json`` of a forecaster. Shapes are counts of time steps, channels in the order of a window's columns.

    ``layout`` is ``series`` where channels are independent and share one net: the IR maps [n, context] to
    [n, horizon] for any n series. It is ``window`` where they cannot stand for each other: [b, context, channels] to
    [b, horizon, channels]. ``golden_tolerance`` is relative to a series' deviation.
    """

    required = (IR_FILE, WEIGHTS_FILE, GOLDEN_FILE)

    kind: Literal["forecaster"] = "forecaster"
    layout: Literal["series", "window"]
    context: int = Field(gt=0)
    horizon: int = Field(gt=0)
    channels: list[str] = Field(min_length=1)
    precision: Precision = Field(description="of the stored weights; int8 computes in 8 bits too")
    parity: dict[str, float] = Field(
        default_factory=dict,
        description="largest difference from the source model by kind of window, relative to its scale",
    )
    metrics: list[Metric] = Field(default_factory=list)

    @field_validator("channels")
    @classmethod
    def _distinct(cls, channels: list[str]) -> list[str]:
        if len(set(channels)) != len(channels):
            raise ValueError("each channel needs a name of its own")
        return channels

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each channel by its name."""
        return {name: index for index, name in enumerate(self.channels)}

    @property
    def window_bytes(self) -> int:
        """The most bytes that a request with one window takes as JSON."""
        return self.context * len(self.channels) * BYTES_A_NUMBER + BYTES_BESIDE

    def described(self) -> dict[str, Any]:
        """Return what a client must know to ask."""
        return {"context": self.context, "horizon": self.horizon, "channels": self.channels}


class GlyphsManifest(Manifest):
    """``manifest.json`` of a glyph chain. ``golden_tolerance`` is of the logits of Phase 2, absolute."""

    required = (
        PHASE1_IR_FILE,
        PHASE1_IR_FILE.replace(".xml", ".bin"),
        PHASE2_IR_FILE,
        PHASE2_IR_FILE.replace(".xml", ".bin"),
        LABEL_MAP_FILE,
        CHARS_FILE,
        GOLDEN_FILE,
    )

    kind: Literal["glyphs"] = "glyphs"
    labels: int = Field(gt=0, description="how many labels Phase 2 tells apart")
    precision: Literal["f32"] = "f32"
    metrics: dict[str, float] = Field(
        default_factory=dict, description="accuracy on fonts that training has not seen; metrics.json has the whole"
    )

    def described(self) -> dict[str, Any]:
        """Return what a client must know to ask."""
        return {"labels": self.labels}


M_co = TypeVar("M_co", bound=Manifest, covariant=True)


@dataclass(frozen=True)
class ModelFolder(Generic[M_co]):
    """A folder of a model that has a readable manifest."""

    path: Path
    manifest: M_co

    @property
    def content(self) -> str:
        """A hash of what the model computes: of its graph and weights, as the manifest has them."""
        files = self.manifest.files
        return hashlib.sha256(f"{files.get(IR_FILE)} {files.get(WEIGHTS_FILE)}".encode()).hexdigest()

    def verify(self) -> None:
        """Compare every file with its hash; raises ModelRefusedError that names the first file that differs."""
        for name in self.manifest.required:
            if name not in self.manifest.files:
                raise ModelRefusedError(f"{self.path / MANIFEST_FILE}: files: no sha256 of {name}; {mend(self.path)}")
        for name, expected in self.manifest.files.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ModelRefusedError(f"{self.path / MANIFEST_FILE}: files: {name!r} is not inside the folder")
            try:
                actual = sha256_file(self.path / name)
            except OSError as error:
                raise ModelRefusedError(f"{self.path / name}: {error.strerror}; {mend(self.path)}") from error
            if actual != expected:
                raise ModelRefusedError(
                    f"{self.path / name}: sha256 {actual} is not the manifest's {expected}; {mend(self.path)}"
                )

    def golden(self, *names: str) -> list[NDArray[Any]]:
        """Return golden vectors by their names: inputs of the model and the outputs that belong to them."""
        import numpy as np  # noqa: PLC0415 - listing models needs no numpy

        # numpy leaves a file of its own opening open when it turns out to be no archive.
        with (self.path / GOLDEN_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]


ForecasterFolder: TypeAlias = ModelFolder[ForecasterManifest]

# Without the default of a kind, a manifest must say which it is.
_ANY_MANIFEST: TypeAdapter[ForecasterManifest | GlyphsManifest] = TypeAdapter(
    Annotated[ForecasterManifest | GlyphsManifest, Field(discriminator="kind")]
)


def open_model(path: Path) -> ModelFolder[ForecasterManifest] | ModelFolder[GlyphsManifest]:
    """Read the manifest of a model of any kind; raises ModelRefusedError that says what is wrong with it."""
    try:
        manifest = _ANY_MANIFEST.validate_json((path / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise ModelRefusedError(f"{path}: no readable {MANIFEST_FILE} ({error.strerror}); {mend(path)}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelRefusedError(
            f"{path / MANIFEST_FILE}: {f'{where}: ' if where else ''}{first['msg']}; {mend(path)}"
        ) from error
    # Told apart only for the type checker.
    if isinstance(manifest, GlyphsManifest):
        return ModelFolder(path, manifest)
    return ModelFolder(path, manifest)


def open_forecaster(path: Path) -> ForecasterFolder:
    """Read the manifest of a forecaster; raises ModelRefusedError also when it is one of another kind."""
    manifest = open_model(path).manifest
    if not isinstance(manifest, ForecasterManifest):
        raise ModelRefusedError(f"{path}: a model of kind {manifest.kind}, not a forecaster")
    return ModelFolder(path, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, indented for a reader."""
    (folder / MANIFEST_FILE).write_bytes(
        orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def sha256_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled_models() -> Path:
    """Return the folder of the models that come with the package: inside a wheel, or beside it in a checkout."""
    return _bundled("models")


def bundled_examples() -> Path:
    """Return the folder of the example requests and data that come with the package."""
    return _bundled("examples")


def _bundled(name: str) -> Path:
    package = Path(__file__).resolve().parent.parent
    inside = package / name
    return inside if inside.is_dir() else package.parent.parent / name


def mend(path: Path) -> str:
    """Return what to do about a model whose files are not what they should be."""
    bundled = bundled_models()
    if path.resolve().parent != bundled or path.name not in BUNDLED:
        return "convert the model again"
    if bundled.parent == Path(__file__).resolve().parent.parent:
        return "it came with Vinocast: install the wheel again (pip install --force-reinstall --no-deps)"
    return f"it came with Vinocast: restore it (git checkout models/{path.name})"


def find_models(root: Path) -> dict[str, Path]:
    """Return the folders of models in a folder, by name; raises SetupError when there is none, or ``root`` is one.

    Hidden folders are passed over: a conversion at work keeps its own there, as tools keep their copies.
    """
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise SetupError(
            f"no folder of models {root} ({error.strerror}): name one with --models, or make one with "
            "'vinocast convert SOURCE --output DIR/NAME'"
        ) from error
    # A name that is no text could be neither asked for nor told.
    found = {
        path.name: path
        for path in entries
        if path.name.isprintable() and not path.name.startswith(".") and _has_manifest(path)
    }
    if not found and _has_manifest(root):
        raise SetupError(f"{root} is the folder of one model: name its parent, --models {root.resolve().parent}")
    if not found:
        raise SetupError(f"no model in {root}: make one with 'vinocast convert SOURCE --output {root}/NAME'")
    return found


def _has_manifest(path: Path) -> bool:
    """Whether a folder has a manifest, or may have one that cannot be read, which whoever opens it will say."""
    try:
        (path / MANIFEST_FILE).lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True
