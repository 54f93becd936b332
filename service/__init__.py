"""Vinocast: time-series forecasts and glyph recognition on server CPUs with OpenVINO."""

__version__ = "0.1.0"
