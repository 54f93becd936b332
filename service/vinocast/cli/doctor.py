"""``vinocast doctor``."""

from __future__ import annotations

import itertools
from typing import Any

import click

from vinocast.cli.options import NOTICES, Command, settings_options
from vinocast.cli.service import start_service
from vinocast.settings import Settings


@click.command(cls=Command, logs=True)
@settings_options(Settings, "models", "default_model", "profile", "strict_profile", "log_level")
@click.option("--json", is_flag=True, help="Print one JSON object instead of lines.")
def doctor(json: bool, **options: Any) -> None:
    """Report CPU, caps, threads, precision, models and versions, and whether what was asked for is in force.

    A line each: ok, WARN, FAIL or, for what is neither right nor wrong, nothing; its subject; what was found. The exit
    code is 1 where anything failed.
    """
    from vinocast.doctor import Finding, examine, to_json

    settings, context = Settings(**options), click.get_current_context()
    notices = [Finding("WARN", "environment", notice) for notice in context.meta.pop(NOTICES)]
    start_service(settings.log_level)
    findings = []
    for finding in itertools.chain(notices, examine(settings)):
        findings.append(finding)
        if not json:
            click.echo(f"{finding.state:4} {finding.subject:16} {finding.text}")
    if json:
        click.echo(to_json(findings))
    context.exit(int(any(finding.state == "FAIL" for finding in findings)))
