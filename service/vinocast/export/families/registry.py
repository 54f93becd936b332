"""The families there are: each folder beside this file registers its own, and a program may register more."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from vinocast.errors import SetupError, quote
from vinocast.export import families as folders
from vinocast.export.families.checkpoint import parse_config
from vinocast.export.files import CONFIG_FILE, read_files

if TYPE_CHECKING:
    from vinocast.export.families.checkpoint import Checkpoint

_families: dict[str, type[Checkpoint]] = {}


def register(family: type[Checkpoint]) -> type[Checkpoint]:
    """Have ``vinocast convert`` know a family; returns it, to stand above the class."""
    _families[family.family] = family
    return family


def families() -> dict[str, type[Checkpoint]]:
    """Return the registered families by name, those of the package among them."""
    for module in pkgutil.iter_modules(folders.__path__):
        if module.ispkg:
            importlib.import_module(f"{folders.__name__}.{module.name}")
    return _families


def read_source(source: str) -> Checkpoint:
    """Read a checkpoint as one of the family that recognises its ``config.json``.

    Args:
        source: a folder, or a hub id, see :func:`vinocast.export.files.read_files`.

    Raises:
        SetupError: the files cannot be read, or no family recognises them.
    """
    name, files = read_files(source)
    config = parse_config(files[CONFIG_FILE], name)
    for family in families().values():
        if family.recognises(config):
            return family(name, files)
    raise SetupError(
        f"{name}: {CONFIG_FILE} is of no family that can be converted (its model_type: "
        f"{quote(config.get('model_type'))}); there are: {', '.join(sorted(families()))}"
    )
