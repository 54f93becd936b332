"""Vinocast: time-series forecasts and glyph recognition on server CPUs with OpenVINO."""

import sys

__version__ = "0.1.0"

# OpenVINO reports each import and each conversion to its maker, unless its telemetry package cannot be imported. The
# reporting also starts a thread, writes to the home folder and costs the start-up 40 ms.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how Python marks it as absent
