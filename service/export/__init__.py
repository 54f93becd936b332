"""From a Hugging Face checkpoint to a model folder. Needs the ``convert`` extra; a running service never imports it."""

import sys

# OpenVINO reports each import and each conversion to its maker, unless its telemetry package cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how Python marks a module as absent
