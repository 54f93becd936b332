"""The files of a checkpoint, in a folder or on the Hugging Face hub: its config, its weights in one file or several."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import orjson

from vinocast.data.regular import read_regular
from vinocast.errors import SetupError, quote
from vinocast.export.weights import refuse_pointer

CONFIG_FILE = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
# The first that is there is read, as transformers does; an index names the files that the weights are spread over.
SAFETENSORS, PICKLES = ([name, name + INDEX] for name in WEIGHT_FILES)
HOW_TO_NAME_A_FOLDER = (
    f"name a folder that holds {CONFIG_FILE} and {WEIGHT_FILES[0]}: 'vinocast convert FOLDER --output DIR/NAME'"
)


def read_files(source: str) -> tuple[str, dict[str, bytes]]:
    """Return the name of a checkpoint and the bytes of its files, each by name.

    Args:
        source: a folder, or else a hub id, whose files are downloaded or found in the hub's cache.

    Raises:
        SetupError: a file is not there, cannot be read or is a Git LFS pointer; an index that names no files beside it.
    """
    folder = Path(source)
    local = folder.is_dir()
    name = folder.resolve().name if local else source
    if not local:
        folder = _download(source, [CONFIG_FILE, *SAFETENSORS])
        if _first_of(folder, SAFETENSORS) is None:
            folder = _download(source, PICKLES, folder.name)
    found = _first_of(folder, [*SAFETENSORS, *PICKLES])
    if found is None:
        raise SetupError(f"{source} has no {' or '.join(WEIGHT_FILES)}: {HOW_TO_NAME_A_FOLDER}")
    files = {file: _read(folder, file, name) for file in (CONFIG_FILE, found)}
    if found.endswith(INDEX):
        shards = _shards(files[found], found, f"{name}: {found}")
        if not local:
            folder = _download(source, shards, folder.name)
        for shard in shards:
            if not (folder / shard).exists():
                raise SetupError(f"{name}: {found} names {shard}, which is not there: copy or download it too")
            files[shard] = _read(folder, shard, name)
    return name, files


def _first_of(folder: Path, names: list[str]) -> str | None:
    return next((name for name in names if (folder / name).is_file()), None)


def _read(folder: Path, file: str, name: str) -> bytes:
    try:
        data = read_regular(folder / file)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}; {HOW_TO_NAME_A_FOLDER}") from error
    refuse_pointer(data, f"{name}: {file}")
    return data


def _shards(index: bytes, file: str, origin: str) -> list[str]:
    """Return the files that an index names, which must lie beside it."""
    try:
        shards = set(orjson.loads(index)["weight_map"].values())
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise SetupError(f"{origin}: expected an object with weight_map, the file of each weight") from error
    suffix = Path(file.removesuffix(INDEX)).suffix
    for shard in shards:
        beside = isinstance(shard, str) and shard.isprintable() and Path(shard).name == shard
        if not (beside and shard.endswith(suffix)):
            raise SetupError(f"{origin}: expected names of {suffix} files in the same folder, got {quote(shard)}")
    if not shards:
        raise SetupError(f"{origin}: weight_map names no file")
    return sorted(shards)


def _download(source: str, names: list[str], revision: str | None = None) -> Path:
    """Return a folder with those of the files that the hub has, of the newest revision or of one."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source):
        raise SetupError(f"no folder {source}: {HOW_TO_NAME_A_FOLDER}")
    import huggingface_hub  # noqa: PLC0415 - a folder needs no hub

    patterns = [glob.escape(name) for name in names]
    try:
        return Path(huggingface_hub.snapshot_download(source, allow_patterns=patterns, revision=revision))
    except Exception as error:  # the client lets errors of several HTTP libraries through
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SetupError(
            f"no folder {source}, and the Hugging Face hub did not give it (offline, or no such id? {reason}): "
            f"{HOW_TO_NAME_A_FOLDER}"
        ) from error
