"""A model's folder: its manifest, the hashes of its files, its golden vectors."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vinocast.data.bundled import mend
from vinocast.data.regular import read_regular, sha256_file
from vinocast.engine.bounds import FOLDER_BYTES, GOLDEN_BYTES, MANIFEST_BYTES, MOST_FILES, most_bytes
from vinocast.engine.folders import MANIFEST_FILE, check_place, label_of
from vinocast.errors import ModelRefusedError, describe, in_one_line, quote, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

IR_FILE = "model.xml"
WEIGHTS_FILE = "model.bin"
GOLDEN_FILE = "golden.npz"

# What the table of a zip begins each entry with. Python makes an object of each, ten times as large as what it reads.
ARCHIVE_ENTRY = b"PK\1\2"
MOST_ARRAYS = 64


class Source(BaseModel):
    """What a model was made from; the same source and options again make the same model."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="hub id or the name of the source folder")
    sha256: dict[str, str] = Field(description="hash of each file of the source that decides the result")
    options: dict[str, str] = Field(description="conversion options that decide the result")


class TensorSpec(NamedTuple):
    """What a model takes or answers, as protocols of tensors say it.

    Attributes:
        name: of the tensor.
        datatype: of its elements, such as ``FP32``.
        shape: -1 where any length will do.
    """

    name: str
    datatype: str
    shape: Sequence[int]


class Manifest(BaseModel):
    """What every ``manifest.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    # Files that a model of this kind cannot do without.
    required: ClassVar[tuple[str, ...]]
    # Those of them that decide what it computes: its graphs and their weights.
    computes: ClassVar[tuple[str, ...]]
    # Files that are read as well where the manifest names them.
    optional: ClassVar[tuple[str, ...]] = ()

    kind: str
    name: str
    precision: str
    version: str = "1"
    golden_tolerance: float = Field(
        gt=0, allow_inf_nan=False, description="largest difference from the golden vectors that is accepted"
    )
    files: dict[str, str] = Field(max_length=MOST_FILES, description="sha256 of every other file of the folder")
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

    def tensors(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """Return what goes in and what comes out where the model can be asked with tensors."""
        return (), ()


M = TypeVar("M", bound=Manifest)
M_co = TypeVar("M_co", bound=Manifest, covariant=True)


@dataclass(frozen=True)
class ModelFolder(Generic[M_co]):
    """A folder of a model, or of one of its versions, that has a readable manifest.

    Attributes:
        path: where it lies.
        manifest: what it says.
        place: NAME or NAME/VERSION, where it was found among others; None where its path alone was named.
    """

    path: Path
    manifest: M_co
    place: str | None = None

    @property
    def label(self) -> str:
        """What is asked for by whoever wants no other version: NAME/VERSION, or NAME where its folder has but one."""
        return label_of(self.path) if self.place is None else self.place

    @property
    def name(self) -> str:
        """What the model goes by: the name of its folder, also after that was renamed."""
        return self.label.partition("/")[0]

    @property
    def version(self) -> str:
        """The name of the version's folder, or what the manifest says where the model has no such folders."""
        return self.label.partition("/")[2] or self.manifest.version

    @property
    def age(self) -> int:
        """Its place among the versions of its model: the newest has the highest; 0 where it has no such folder."""
        return int(self.label.partition("/")[2] or 0)

    @property
    def content(self) -> str:
        """A hash of what the model computes: of its graphs and weights, as the manifest has them."""
        files = self.manifest.files
        return hashlib.sha256(" ".join(files.get(name, "") for name in self.manifest.computes).encode()).hexdigest()

    def verify(self) -> None:
        """Compare every file with its hash; raises ModelRefusedError that names the first file that differs."""
        for _ in self._files():
            pass

    def read(self) -> dict[str, bytes]:
        """Do what :meth:`verify` does, and return the files that a model of its kind is made of, by name.

        These are the bytes that were compared, in memory of our own: nothing that happens to the files afterwards can
        change what is made of them.
        """
        return {name: data for name, data in self._files() if data is not None}

    def refusal(self, fault: str, more: str = "", file: str = "", remedy: str | None = None) -> ModelRefusedError:
        """Return the error that refuses the model.

        Args:
            fault: for everybody.
            more: what follows in the log, for whoever may see the files.
            file: of the folder, which has the fault.
            remedy: what to do about it; :func:`vinocast.data.bundled.mend` if not given.
        """
        return _refusal(self.path, fault, more, file, remedy)

    def _files(self) -> Iterator[tuple[str, bytes | None]]:
        """Yield every file by its name once it is compared with its hash, with its bytes where they are needed."""
        for name in self.manifest.required:
            if name not in self.manifest.files:
                raise self.refusal(f"files: no sha256 of {name}", file=MANIFEST_FILE)
        left = FOLDER_BYTES
        for name, expected in self.manifest.files.items():
            if not _is_inside(name):
                raise self.refusal(f"files: {quote(name)} is not inside the folder", file=MANIFEST_FILE)
            path, most, data = self.path / name, min(left, most_bytes(name)), None
            try:
                if name in self.manifest.required or name in self.manifest.optional:
                    data = read_regular(path, most)
                    actual = hashlib.sha256(data).hexdigest()
                else:
                    actual = sha256_file(path, most)
                left -= len(data) if data is not None else path.stat().st_size
            except OSError as error:
                raise self.refusal(str(error.strerror), file=name) from error
            if actual != expected:
                raise self.refusal(
                    "sha256 is not the manifest's", f" ({actual} instead of {shorten(expected)})", file=name
                )
            yield name, data


def _is_inside(name: str) -> bool:
    """Whether a manifest's name of a file can be one of a file in its folder, written as it is written once only."""
    path = PurePosixPath(name)
    return name.isprintable() and str(path) == name != "." and not path.is_absolute() and ".." not in path.parts


def _refusal(folder: Path, fault: str, more: str = "", file: str = "", remedy: str | None = None) -> ModelRefusedError:
    """Return the error that refuses a model; see :meth:`ModelFolder.refusal`."""
    remedy = remedy or mend(folder)
    return ModelRefusedError(
        f"{folder / shorten(file) if file else folder}: {fault}{more}; {remedy}",
        f"{f'{shorten(file)}: ' if file else ''}{fault}; {remedy}",
    )


def golden_vectors(folder: ModelFolder[Any], files: Mapping[str, bytes], *names: str) -> list[NDArray[Any]]:
    """Return golden vectors by their names: inputs of the model and the outputs that belong to them.

    ``files`` are those that :meth:`ModelFolder.read` has returned. Raises ModelRefusedError for what is no archive of
    plain numbers, or would take more memory than golden vectors may.
    """
    return arrays_of(folder, files, GOLDEN_FILE, "golden vectors", *names)


def arrays_of(
    folder: ModelFolder[Any],
    files: Mapping[str, bytes],
    file: str,
    what: str,
    *names: str,
    remedy: str | None = None,
) -> list[NDArray[Any]]:
    """Return arrays of an npz of a model's folder, as :func:`golden_vectors` does; raises ModelRefusedError."""
    try:
        packed = files[file]
        if packed.count(ARCHIVE_ENTRY) > MOST_ARRAYS:
            raise ValueError(f"more than {MOST_ARRAYS} arrays")
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return [_array(archive, name) for name in names]
    except Exception as error:  # what hostile bytes make the readers of two formats raise is no closed list
        raise folder.refusal(f"{what} expected", f" ({in_one_line(error)})", file=file, remedy=remedy) from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return an array of numbers of an npz; raises ValueError for another, before it takes any memory."""
    import numpy as np  # noqa: PLC0415 - listing models needs no numpy

    member = archive.getinfo(f"{name}.npy")
    if member.file_size > GOLDEN_BYTES:
        raise ValueError(f"{name} has {member.file_size} bytes, more than the {GOLDEN_BYTES} it may have")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in another way than numpy does")
    data = archive.read(member)
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, kind = header(file)
    if kind.kind not in "fiu" or math.prod(shape) * kind.itemsize != len(data) - file.tell():
        raise ValueError(f"{name} is no array of numbers of its own length")
    file.seek(0)
    return np.asarray(np.load(file, allow_pickle=False))


def read_manifest(path: Path, kinds: Mapping[str, type[M]], place: str | None = None) -> ModelFolder[M]:
    """Read the manifest of a model of one of some kinds; raises ModelRefusedError that says what is wrong with it.

    ``place`` is NAME or NAME/VERSION, by which :func:`vinocast.engine.folders.find_models` has found it.
    """
    check_place(path, label_of(path) if place is None else place)
    try:
        fields = orjson.loads(read_regular(path / MANIFEST_FILE, MANIFEST_BYTES))
    except OSError as error:
        raise _refusal(path, f"no readable {MANIFEST_FILE} ({error.strerror})") from error
    except orjson.JSONDecodeError as error:
        raise _refusal(path, in_one_line(error), file=MANIFEST_FILE) from error
    kind = fields.get("kind") if isinstance(fields, dict) else None
    schema = kinds.get(kind) if isinstance(kind, str) else None
    if schema is None and isinstance(kind, str) and len(kinds) == 1:
        fault = f"a model of kind {shorten(kind)}, not a {next(iter(kinds))}"
        raise ModelRefusedError(f"{path}: {fault}", fault)
    if schema is None:
        raise _refusal(path, f"kind: expected {' or '.join(kinds)}, got {describe(kind)}", file=MANIFEST_FILE)
    try:
        return ModelFolder(path, schema.model_validate(fields), place)
    except ValidationError as error:
        raise _refusal(path, first_fault(error), file=MANIFEST_FILE) from error


def first_fault(error: ValidationError) -> str:
    """Return where the first fault of a manifest stands, and what it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = shorten(".".join(map(str, first["loc"])))
    return f"{f'{where}: ' if where else ''}{first['msg']}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
    (folder / MANIFEST_FILE).write_bytes(packed_manifest(manifest))


def packed_manifest(manifest: Manifest) -> bytes:
    """Return what ``manifest.json`` holds, indented for a reader."""
    return orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
