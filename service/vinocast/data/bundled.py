"""What comes with the package: models and examples, inside a wheel or beside the source of a checkout."""

from __future__ import annotations

from pathlib import Path

BUNDLED_FORECASTER = "patchtst-etth1"
BUNDLED_GENERAL = "vinocast-general"  # of series that no model was trained on
BUNDLED_MARKET = "btcusd"  # of market streams
BUNDLED_GLYPHS = "glyphs"
BUNDLED = (BUNDLED_FORECASTER, BUNDLED_GENERAL, BUNDLED_MARKET, BUNDLED_GLYPHS)

PACKAGE = Path(__file__).resolve().parent.parent


def bundled_models() -> Path:
    """Return the folder of the models that come with the package: inside a wheel, or beside it in a checkout."""
    return _bundled("models")


def bundled_examples() -> Path:
    """Return the folder of the example requests and data that come with the package."""
    return _bundled("examples")


def _bundled(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent.parent / name


def mend(path: Path, otherwise: str = "convert the model again") -> str:
    """Return what to do about a model whose files are not what they should be; ``otherwise`` of one of the user's."""
    bundled = bundled_models()
    if path.resolve().parent != bundled or path.name not in BUNDLED:
        return otherwise
    if bundled.parent == PACKAGE:
        return "it came with Vinocast: install the wheel again (pip install --force-reinstall --no-deps)"
    return f"it came with Vinocast: restore it (git checkout models/{path.name})"
