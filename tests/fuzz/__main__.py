"""Fuzzers that run for as long as they are told, from the root: ``PYTHONPATH=tests python -m fuzz --help``.

Each ends with code 1 at any fault, which it prints with the bytes that made it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from fuzz import conformance, http_requests, schema, stdio_lines
from fuzz.decoders import DECODERS
from fuzz.report import Report

SEED = click.option("--seed", default=0, help="Another seed makes other inputs.")


@click.group(context_settings={"show_default": True}, help=__doc__)
def main() -> None:
    """Choose a fuzzer."""


@main.command()
@click.option("--count", default=1_000_000, help="Texts, each sent as a line.")
@SEED
def lines(count: int, seed: int) -> None:
    """Lines for `vinocast stdio`."""
    _end([stdio_lines.run(count, seed)])


@main.command()
@click.option("--count", default=200_000, help="Requests.")
@SEED
def requests(count: int, seed: int) -> None:
    """Requests for `vinocast serve`."""
    _end([http_requests.run(count, seed)])


@main.command()
@click.option("--torn", default=100_000, help="Texts that were JSON before a few bytes were changed.")
@SEED
def json(torn: int, seed: int) -> None:
    """Texts that are JSON and that are not, over both."""
    _end([conformance.over_lines(seed, torn), conformance.over_http(seed, torn)])


@main.command()
@click.option("--seconds", default=60, help="For each decoder.")
@click.option("--only", type=click.Choice(list(DECODERS)), multiple=True, help="These alone.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".fuzz"), help="Inputs that were of use.")
def decoders(seconds: int, only: tuple[str, ...], folder: Path) -> None:
    """Each decoder under a fuzzer that follows what its inputs reach."""
    failed = []
    for name in only or DECODERS:
        options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]
        command = [sys.executable, "-m", "fuzz.guided", name, str(folder), *options]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        last = [line for line in done.stderr.splitlines() if "cov:" in line][-1:]
        print(f"{name}: {'; '.join(last).strip() or 'nothing was run'}", flush=True)
        if done.returncode or not last:
            failed.append(name)
            print(done.stderr[-3000:])
    if failed:
        sys.exit(f"faults in {', '.join(failed)}: see {folder}")


@main.command("schema")
@click.option("--examples", default=200, help="For each operation.")
@SEED
def schema_(examples: int, seed: int) -> None:
    """Run schemathesis over the service's own schema."""
    sys.exit(schema.run(examples, seed))


def _end(reports: list[Report]) -> None:
    print(*reports, sep="\n")
    sys.exit(any(report.failed for report in reports))


if __name__ == "__main__":
    main()
