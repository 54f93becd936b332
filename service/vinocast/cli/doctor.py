"""``vinocast doctor``."""

from __future__ import annotations

import itertools
from typing import Any

import click

from vinocast.cli.options import NOTICES, Command, read_token, settings_options
from vinocast.cli.service import start_service
from vinocast.settings import HttpSettings

ACCESS = ("host", "token_file", "insecure", "allowed_hosts", "allowed_origins")


@click.command(cls=Command, logs=True)
@settings_options(
    HttpSettings, "models", "default_model", "profile", "strict_profile", "log_level", "log_format", "otel", *ACCESS
)
@click.option("--json", is_flag=True, help="Print one JSON object instead of lines.")
def doctor(json: bool, **options: Any) -> None:
    """Report CPU, caps, threads, precision, models, versions, who may ask, and whether all is in force as asked.

    A line each: ok, WARN, FAIL or, for what is neither right nor wrong, nothing; its subject; what was found. The exit
    code is 1 where anything failed.
    """
    from vinocast.doctor import Finding, examine, to_json

    settings = HttpSettings(**options, token=read_token(options["token_file"]))
    context = click.get_current_context()
    notices = [Finding("WARN", "environment", notice) for notice in context.meta.pop(NOTICES)]
    start_service(settings.log_level, settings.log_format)
    findings = []
    for finding in itertools.chain(notices, examine(settings)):
        findings.append(finding)
        if not json:
            click.echo(f"{finding.state:4} {finding.subject:16} {finding.text}")
    if json:
        click.echo(to_json(findings))
    context.exit(int(any(finding.state == "FAIL" for finding in findings)))
