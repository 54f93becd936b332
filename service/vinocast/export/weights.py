"""Weights out of the bytes of one file: safetensors, or what torch.save made of tensors and plain values alone.

No code in a file is run, and torch's advice to read it unsafely is never passed on. What trainers and wrappers put
around weights is taken off: a dict with more in it, and what precedes their names.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING

from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

# Where other code keeps the weights of a checkpoint, also one inside another, though not for ever.
STATE_KEYS = ("model_state", "model_state_dict", "state_dict", "model", "module")
MOST_NESTED = 4
# What DataParallel and torch.compile put into names, in front or inside.
WRAPPERS = {"module", "_orig_mod"}
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MOST_NAMED = 4


def refuse_pointer(data: bytes, origin: str) -> None:
    """Raise SetupError where the bytes are what Git LFS puts in the place of a file it has not fetched."""
    if data.startswith(LFS_POINTER):
        raise SetupError(f"{origin} is a Git LFS pointer, not the file itself: run 'git lfs pull' where it was cloned")


def load_checkpoint(data: bytes, name: str, origin: str) -> object:
    """Return what a ``.safetensors`` file holds or, by any other ``name``, a file of torch.save.

    Raises SetupError that begins with ``origin``: a Git LFS pointer, a damaged file, or one that would need its code
    to be run. Inside ``torch.serialization.safe_globals`` the classes named there are let in.
    """
    import safetensors.torch  # noqa: PLC0415 - reading and hashing a source again needs no torch
    import torch  # noqa: PLC0415

    refuse_pointer(data, origin)
    try:
        if name.endswith(".safetensors"):
            return safetensors.torch.load(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an unusual pickle: it reads or it does not
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign pickle fails in as many ways as a pickle has instructions
        raise SetupError(f"{origin} cannot be read{_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Say why a file was not read, without torch's advice."""
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text)
    if found or "TorchScript" in text or "legacy .tar" in text:
        what = found[1] if found else "a whole model"
        return (
            f": it holds {what}, and nothing but tensors and plain values is read, as more would run its code; save "
            "the weights alone, with torch.save(model.state_dict(), …) or as safetensors"
        )
    if "weights_only" in text:
        text = "no file of torch.save"
    return f", copy or download it again: {text.partition(chr(10))[0] or type(error).__name__}"


def find_weights(content: object, origin: str) -> dict[str, torch.Tensor]:
    """Return the weights by name of what :func:`load_checkpoint` gave; raises SetupError that names what is no weight.

    They may lie under one of STATE_KEYS.
    """
    import torch  # noqa: PLC0415

    for _ in range(MOST_NESTED):
        inner = [content[key] for key in STATE_KEYS if key in content] if isinstance(content, dict) else []
        content = next((value for value in inner if isinstance(value, dict)), content)
    if not isinstance(content, dict) or not content:
        what = "an empty dict" if content == {} else type(content).__name__
        raise SetupError(f"{origin}: expected a dict of weights by name, got {what}")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor)):
            raise SetupError(f"{origin}: {name!s:.80}: expected a tensor, got {type(value).__name__}")
    return {name: tensor.detach() for name, tensor in content.items()}


def unwrapped(names: Collection[str], expected: Collection[str]) -> dict[str, str]:
    """Return, for each name, the one it has without wrappers.

    ``module`` and ``_orig_mod`` are taken out wherever they stand; then, until one of ``expected`` appears, whatever
    precedes all names alike.
    """
    bare = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in names}
    while not set(bare.values()) & set(expected):
        heads = {name.partition(".")[0] for name in bare.values()}
        if len(heads) != 1 or any("." not in name for name in bare.values()):
            break
        bare = {name: short.partition(".")[2] for name, short in bare.items()}
    return bare


def merge(
    states: Mapping[str, Mapping[str, torch.Tensor]], expected: Collection[str], origin: str
) -> dict[str, torch.Tensor]:
    """Return the weights of several files, without wrappers; raises SetupError for one that is there twice."""
    found: dict[str, torch.Tensor] = {}
    bare = unwrapped([name for state in states.values() for name in state], expected)
    for file, state in states.items():
        for name, tensor in state.items():
            if bare[name] in found:
                raise SetupError(f"{origin}: {bare[name]} is there twice, the second time in {file} as {name}")
            found[bare[name]] = tensor
    return found


def shortened(names: Collection[str]) -> str:
    """Return some names for a message: the first few, and how many more."""
    first = ", ".join(sorted(names)[:MOST_NAMED])
    return first if len(names) <= MOST_NAMED else f"{first} and {len(names) - MOST_NAMED} more"
