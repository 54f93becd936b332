"""Where models lie in a folder of them: each in NAME, or its versions in NAME/VERSION."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vinocast.errors import ModelRefusedError, SetupError, shown

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_FILE = "manifest.json"
# Written in one way only.
VERSION = re.compile("[1-9][0-9]{0,17}")
# What somebody may have meant as one.
LIKE_A_VERSION = re.compile("[vV]?[0-9].*")
EXPECTED = "a positive whole number of at most 18 digits, without zeros in front"


def find_models(root: Path) -> dict[str, Path]:
    """Return the folders of models in a folder, by NAME or by NAME/VERSION, the newest version of each first.

    A name that is no text is written as one can be. What is empty, a link to what is not there, or cannot be served
    otherwise, is refused when it is opened; see :func:`check_place`.

    Hidden folders are passed over: a conversion at work keeps its own there, as tools keep their copies. So is what
    holds neither a manifest nor folders of versions. Raises SetupError when there is no model, or ``root`` is one.
    """
    try:
        entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise SetupError(
            f"no folder of models {root} ({error.strerror}): name one with --models, or make one with "
            "'vinocast convert SOURCE --output DIR/NAME'"
        ) from error
    found: dict[str, Path] = {}
    for path in entries:
        name, versions = shown(path.name), versions_of(path)
        if has_manifest(path) or _is_empty(path) or _leads_nowhere(path):
            found[name] = path
        elif versions:
            found |= {f"{name}/{shown(each.name)}": each for each in versions}
    if found and all(VERSION.fullmatch(name) for name in found):
        raise SetupError(f"{root} holds the versions of one model: name its parent, --models {root.resolve().parent}")
    if not any(map(has_manifest, found.values())) and has_manifest(root):
        raise SetupError(f"{root} is the folder of one model: name its parent, --models {root.resolve().parent}")
    if not found:
        raise SetupError(f"no model in {root}: make one with 'vinocast convert SOURCE --output {root}/NAME'")
    return found


def versions_of(path: Path) -> list[Path]:
    """Return the folders of a model's versions, the newest first, behind them what has another name and a manifest.

    There are none where no name is one of a version, or is like one beside a manifest.
    """
    try:
        entries = [each for each in path.iterdir() if not each.name.startswith(".")]
        folders = [each for each in entries if each.is_dir() or _leads_nowhere(each)]
    except OSError:
        return []
    versions = [each for each in folders if VERSION.fullmatch(each.name)]
    others = sorted(each for each in folders if not VERSION.fullmatch(each.name) and has_manifest(each))
    if not versions and not any(LIKE_A_VERSION.fullmatch(each.name) for each in others):
        return []
    return [*sorted(versions, key=lambda each: int(each.name), reverse=True), *others]


def label_of(path: Path) -> str:
    """Return what the model of a folder goes by where that alone is named: NAME, or NAME/VERSION."""
    parent = path.absolute().parent
    return f"{parent.name}/{path.name}" if VERSION.fullmatch(path.name) and parent.name else path.name


def check_place(path: Path, label: str) -> None:
    """Raise ModelRefusedError for a folder in which no model can lie, by its place alone."""
    name, _, version = label.partition("/")
    if _leads_nowhere(path):
        raise _refused(path, "a link to what is not there: make it anew, or remove it")
    if not path.name.isprintable() or (version and not path.parent.name.isprintable()):
        raise _refused(path, "a model goes by its folder's name, and this is no text: rename it")
    if version and not VERSION.fullmatch(version):
        raise _refused(path, f"the folder of a version of {name} is named by {EXPECTED}: rename it")
    versions = [] if version else [each.name for each in versions_of(path) if VERSION.fullmatch(each.name)]
    if versions and has_manifest(path):
        raise _refused(
            path,
            f"{MANIFEST_FILE} beside folders of versions ({', '.join(versions[:3])}): move the model into one of its "
            "own, or the versions away",
        )
    if versions:
        raise _refused(path, f"a folder of versions: name one of them, such as {path.name}/{versions[0]}")
    if _is_empty(path):
        raise _refused(path, f"it is empty: expected a model, with its {MANIFEST_FILE}, or folders of versions")


def has_manifest(path: Path) -> bool:
    """Whether a folder has a manifest, or may have one that cannot be read, which whoever opens it will say."""
    try:
        (path / MANIFEST_FILE).lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _is_empty(path: Path) -> bool:
    try:
        return next(path.iterdir(), None) is None
    except OSError:  # no folder, or none that can be looked into
        return False


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _refused(path: Path, fault: str) -> ModelRefusedError:
    return ModelRefusedError(f"{shown(path)}: {fault}", fault)
