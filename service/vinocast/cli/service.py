"""The process of a long-running service."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from vinocast.cli.options import NOTICES

if TYPE_CHECKING:
    from vinocast.settings import Settings

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
# The program's, whatever module of it speaks.
log = logging.getLogger(__package__)


def check_tracing(settings: Settings) -> None:
    """Raise SetupError where spans are asked for and cannot be exported; say it where they are half asked for."""
    if os.environ.get(ENDPOINT_VARIABLE) and not settings.otel:
        # Not taken for a wish: a cluster may set it for whatever runs in it, whether or not the extra is installed.
        click.get_current_context().meta[NOTICES].append(f"{ENDPOINT_VARIABLE} has no effect without --otel")
    if settings.otel:
        from vinocast.extras import missing_extra

        try:
            import vinocast.monitoring.spans  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_extra("otel", error) from error


def start_service(level: str, form: str) -> None:
    """Prepare the process of a long-running service: signals, logs to stderr, no threads and imports nobody uses."""
    from vinocast.process.log_stream import OneLine, take_stderr
    from vinocast.process.memory import give_large_memory_back
    from vinocast.process.signals import on_end

    # Until the transport takes over, a signal ends the process. The kernel drops one that process 1 has no handler for.
    on_end(lambda *_: sys.exit(0))
    # A parent that ignores it has its children reaped by the kernel, and so would we have our workers.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    take_stderr()
    give_large_memory_back()
    # numpy's own pool serves matrix products, of which a service has none; it is read when numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # pydantic looks for plugins in every installed package, whose code would be run with the first schema.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # OpenVINO does without its converters where they cannot be imported, and starts in two thirds of the time.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # as None marks a module as absent
    # TA-Lib imports what it finds of these, for most of a second, in which the first forecast of a market would wait.
    for frames in ("pandas", "polars"):
        sys.modules.setdefault(frames, None)  # type: ignore[arg-type]
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        from pythonjsonlogger.orjson import OrjsonFormatter

        handler.setFormatter(OrjsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    else:
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    context = click.get_current_context(silent=True)
    for notice in context.meta.pop(NOTICES, ()) if context else ():
        log.warning("%s", notice)
