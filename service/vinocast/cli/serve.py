"""``vinocast serve``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import click

from vinocast.cli.options import Command, read_token, settings_options
from vinocast.cli.service import check_tracing, start_service
from vinocast.errors import SetupError
from vinocast.settings import HttpSettings


@click.command(cls=Command, logs=True)
@settings_options(HttpSettings)
def serve(**options: Any) -> None:
    """Serve forecasts and glyphs over HTTP until stopped; /docs describes the routes."""
    settings = HttpSettings(**options, token=read_token(options["token_file"]))
    if settings.grpc_port is not None:
        _check_grpc(settings)
    check_tracing(settings)
    start_service(settings.log_level, settings.log_format)
    from vinocast.monitoring.shared_folder import FOLDER_VARIABLE, shared_folder

    # The package that counts looks for it when it is imported, and it is of one service alone.
    os.environ.pop(FOLDER_VARIABLE, None)
    if settings.workers == 1:
        from vinocast.transports.http.server import serve_http

        serve_http(settings)
        return
    if settings.state is not None:
        raise SetupError(f"--state {settings.state}: no streams are kept where several workers share a port")
    from vinocast.engine.cpu import cpu_budget

    budget = cpu_budget()
    if settings.workers > budget.cores:
        cores = f"{budget.cores} core{'s' * (budget.cores > 1)}"
        raise SetupError(f"--workers {settings.workers}: {cores} here; choose at most {budget.cores}")
    with shared_folder() as folder:
        os.environ[FOLDER_VARIABLE] = folder
        from vinocast.transports.workers.supervisor import serve_workers

        serve_workers(settings, sorted(budget.affinity))


def _check_grpc(settings: HttpSettings) -> None:
    """Raise SetupError where gRPC cannot be spoken; not by an import, which must not be before workers are forked."""
    from vinocast.extras import missing_extra

    if find_spec("grpc") is None:
        raise missing_extra("grpc", ModuleNotFoundError("No module named 'grpc'"))
    if settings.workers > 1 and not settings.grpc_port:
        raise SetupError("--grpc-port 0: several workers share a port, which must be named")
