"""A model's folder: its manifest, the hashes of its files, its golden vectors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vinocast.data.bundled import mend
from vinocast.data.regular import open_regular, read_regular, sha256_file
from vinocast.errors import ModelRefusedError, SetupError, describe, shorten, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MANIFEST_FILE = "manifest.json"
IR_FILE = "model.xml"
WEIGHTS_FILE = "model.bin"
GOLDEN_FILE = "golden.npz"


class Source(BaseModel):
    """What a model was made from; the same source and options again make the same model."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="hub id or the name of the source folder")
    sha256: dict[str, str] = Field(description="hash of each file of the source that decides the result")
    options: dict[str, str] = Field(description="conversion options that decide the result")


class Manifest(BaseModel):
    """What every ``manifest.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    # Files that a model of this kind cannot do without.
    required: ClassVar[tuple[str, ...]]
    # Those of them that decide what it computes: its graphs and their weights.
    computes: ClassVar[tuple[str, ...]]

    kind: str
    name: str
    precision: str
    version: str = "1"
    golden_tolerance: float = Field(gt=0, description="largest difference from the golden vectors that is accepted")
    files: dict[str, str] = Field(description="sha256 of every other file of the folder")
    source: Source
    tools: dict[str, str] = Field(description="versions of the tools that made the model")
    command: str | None = Field(default=None, description="the command that made the weights, for a model trained here")

    @property
    def request_bytes(self) -> int:
        """The most bytes that one request of this model takes as text, where that is known; else 0."""
        return 0

    def described(self) -> dict[str, Any]:
        """Return what a client must know to ask."""
        raise NotImplementedError


M = TypeVar("M", bound=Manifest)
M_co = TypeVar("M_co", bound=Manifest, covariant=True)


@dataclass(frozen=True)
class ModelFolder(Generic[M_co]):
    """A folder of a model that has a readable manifest."""

    path: Path
    manifest: M_co

    @property
    def content(self) -> str:
        """A hash of what the model computes: of its graphs and weights, as the manifest has them."""
        files = self.manifest.files
        return hashlib.sha256(" ".join(files.get(name, "") for name in self.manifest.computes).encode()).hexdigest()

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
        with open_regular(self.path / GOLDEN_FILE) as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]


def read_manifest(path: Path, kinds: Mapping[str, type[M]]) -> ModelFolder[M]:
    """Read the manifest of a model of one of some kinds; raises ModelRefusedError that says what is wrong with it."""
    if not path.name.isprintable():
        raise ModelRefusedError(f"{shown(path)}: a model goes by its folder's name, and this is no text: rename it")
    try:
        fields = orjson.loads(read_regular(path / MANIFEST_FILE))
    except OSError as error:
        raise ModelRefusedError(f"{path}: no readable {MANIFEST_FILE} ({error.strerror}); {mend(path)}") from error
    except orjson.JSONDecodeError as error:
        raise ModelRefusedError(f"{path / MANIFEST_FILE}: {error}; {mend(path)}") from error
    kind = fields.get("kind") if isinstance(fields, dict) else None
    schema = kinds.get(kind) if isinstance(kind, str) else None
    if schema is None and isinstance(kind, str) and len(kinds) == 1:
        raise ModelRefusedError(f"{path}: a model of kind {shorten(kind)}, not a {next(iter(kinds))}")
    if schema is None:
        raise ModelRefusedError(
            f"{path / MANIFEST_FILE}: kind: expected {' or '.join(kinds)}, got {describe(kind)}; {mend(path)}"
        )
    try:
        return ModelFolder(path, schema.model_validate(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelRefusedError(
            f"{path / MANIFEST_FILE}: {f'{where}: ' if where else ''}{first['msg']}; {mend(path)}"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, indented for a reader."""
    (folder / MANIFEST_FILE).write_bytes(
        orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def find_models(root: Path) -> dict[str, Path]:
    """Return the folders of models in a folder, by name; raises SetupError when there is none, or ``root`` is one.

    A name that is no text is written as one can be; such a folder is refused when it is opened.

    Hidden folders are passed over: a conversion at work keeps its own there, as tools keep their copies.
    """
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise SetupError(
            f"no folder of models {root} ({error.strerror}): name one with --models, or make one with "
            "'vinocast convert SOURCE --output DIR/NAME'"
        ) from error
    found = {shown(path.name): path for path in entries if not path.name.startswith(".") and _has_manifest(path)}
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
