"""The profile ``tuned``: what ``vinocast tune`` found on this machine, kept in the user's state folder."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vinocast.data.atomic import file_beside, whole_file
from vinocast.data.regular import read_regular
from vinocast.engine.bounds import TUNED_BYTES
from vinocast.engine.cpu import CPUINFO, CpuBudget, cpu_budget, processor
from vinocast.engine.manifest import Manifest, ModelFolder, read_manifest
from vinocast.engine.profiles import MOST_THREADS, PROFILE_NAMES, PROFILES, TUNED, Profile
from vinocast.errors import ModelRefusedError, SetupError

M = TypeVar("M", bound=Manifest)

log = logging.getLogger(__name__)

PROFILE_FILE = "tuned.json"
# Of which a profile of many models is some thousand.
PROFILE_BYTES = 1 << 16
MEND = "run 'vinocast tune' on this machine"
SHOW_CPU = "let it be read (systemd: ProcSubset=all), or choose another --profile"


class Fingerprint(BaseModel):
    """What a measured choice depends on. ``threads`` are those that the CPU budget leaves to one inference."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    cpu: str
    flags: str = Field(description="hash of the processor's instruction-set flags")
    threads: int
    quota: bool
    openvino: str

    def __str__(self) -> str:
        quota = ", under a CPU quota" if self.quota else ""
        return f"{self.cpu} (flags {self.flags}), {self.threads} threads{quota}, OpenVINO {self.openvino}"


class TunedModel(BaseModel):
    """How one model is compiled.

    ``int8`` names the folder of its int8 IR below the state folder's ``int8``; without it, its own weights are used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    precision: Literal["f32", "bf16"]
    threads: int = Field(ge=1)
    pinned: bool
    int8: str | None = None


class TunedFile(BaseModel):
    """``tuned.json``. Models are known by :attr:`ModelFolder.content`, so that one which changed is not known."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    fingerprint: Fingerprint
    isa_cap: Literal["AVX2"] | None
    models: dict[str, TunedModel]


@dataclass(frozen=True)
class TunedProfile(Profile):
    """A profile under which each model is compiled as it was measured to be fastest, others in f32; one cap for all."""

    state: Path = Path()
    models: Mapping[str, TunedModel] = field(default_factory=dict)


class Choice(NamedTuple, Generic[M]):
    """How one model is compiled under a profile.

    Attributes:
        profile: its own.
        folder: where its files are.
        files: those, verified, as :meth:`ModelFolder.read` returns them; what is not among them is the model's own.
        warning: what a user should know.
    """

    profile: Profile
    folder: ModelFolder[M]
    files: Mapping[str, bytes]
    warning: str | None = None


def find_profile(name: str) -> Profile:
    """Return a profile by name; raises SetupError that lists the names, or says why there is no ``tuned``."""
    if name == TUNED:
        return read_tuned()
    try:
        return PROFILES[name]
    except KeyError:
        raise SetupError(f"no profile named {name!r}; choose one of {', '.join(PROFILE_NAMES)}") from None


def choose(profile: Profile, folder: ModelFolder[M]) -> Choice[M]:
    """Return how to compile a model under a profile, and from which files; raises ModelRefusedError.

    Its own files are verified whatever is served in their stead. Under ``tuned`` it is as was measured; with a warning
    where the model was not tuned as it is. Under any other profile it is the profile itself, and the model's own files.
    """
    files, name = folder.read(), folder.label
    if not isinstance(profile, TunedProfile):
        return Choice(profile, folder, files)
    tuned = profile.models.get(folder.content)
    if tuned is None:
        return Choice(profile, folder, files, f"{name} was not tuned, or has changed since, and runs in f32: {MEND}")
    own = Profile(
        profile.name,
        profile.summary,
        isa_cap=profile.isa_cap,
        threads=tuned.threads,
        pinned=tuned.pinned,
        precision=tuned.precision,
    )
    if tuned.int8 is None:
        return Choice(own, folder, files)
    try:
        derived = read_manifest(int8_folder(profile.state) / tuned.int8, {folder.manifest.kind: type(folder.manifest)})
        return Choice(own, derived, {**files, **derived.read()})
    except ModelRefusedError as error:
        log.warning("%s", error)
        warning = f"{name} runs in f32, as its int8 model cannot be used: {error.reason}; {MEND}"
        return Choice(profile, folder, files, warning)


def state_folder() -> Path:
    """Return the user's state folder: ``vinocast`` in $XDG_STATE_HOME, or in ~/.local/state; raises SetupError."""
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vinocast"
    except RuntimeError:
        raise SetupError("this user has no home folder: name a folder to keep state in with XDG_STATE_HOME") from None


def int8_folder(state: Path) -> Path:
    """Return the folder of the int8 models that tuning has made."""
    return state / "int8"


def fingerprint(budget: CpuBudget) -> Fingerprint:
    """Return the fingerprint of this machine, as this process may use it; raises SetupError where it cannot be told."""
    cpu = processor()
    if not cpu.flags:
        raise SetupError(f"the profile 'tuned' is for one CPU, and {CPUINFO} does not say which this is: {SHOW_CPU}")
    return Fingerprint(
        cpu=cpu.name,
        flags=hashlib.sha256(" ".join(sorted(cpu.flags)).encode()).hexdigest()[:12],
        threads=min(MOST_THREADS, budget.cores),
        quota=budget.quota is not None,
        openvino=version("openvino"),
    )


def write_tuned(state: Path, found: TunedFile) -> Path:
    """Write the profile, at once or not at all, and return its file; raises SetupError."""
    path = state / PROFILE_FILE
    with _writing(state), whole_file(path) as part:
        part.write_text(found.model_dump_json(indent=2) + "\n")
    return path


def check_state(state: Path) -> None:
    """Write as much as a profile takes and remove it; raises SetupError where that cannot be done."""
    with _writing(state), file_beside(state / PROFILE_FILE) as part:
        part.write_bytes(bytes(PROFILE_BYTES))


@contextmanager
def _writing(state: Path) -> Iterator[None]:
    """Make the state folder if need be; raises SetupError where it cannot be written, in the block either."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SetupError(f"{state} cannot be written: {error}; name a folder with XDG_STATE_HOME") from error


def read_tuned() -> TunedProfile:
    """Return the profile; raises SetupError where there is none, or one of another machine."""
    state = state_folder()
    path = state / PROFILE_FILE
    try:
        found = TunedFile.model_validate_json(read_regular(path, TUNED_BYTES))
    except FileNotFoundError:
        raise SetupError(f"no profile 'tuned' ({path}): {MEND}") from None
    except (OSError, ValidationError) as error:
        raise SetupError(f"{path} cannot be read: {error}; {MEND}") from error
    here = fingerprint(cpu_budget())
    if found.fingerprint != here:
        raise SetupError(f"the profile 'tuned' was made for {found.fingerprint}, but here is {here}: {MEND}")
    return TunedProfile(
        TUNED,
        f"as 'vinocast tune' measured it here: {found.isa_cap or 'no'} cap, each model in its own precision",
        isa_cap=found.isa_cap,
        state=state,
        models=found.models,
    )
