"""Vinocast beside what a user would pick instead: the same windows, the same clients, in turn, in one run.

    python -m benchmarks.peers

Exits with 1 when a bar against the best of the peers is missed; ``docs/performance.md`` says what each of them runs.
"""

from __future__ import annotations

from pathlib import Path

import click
import orjson
from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILES
from vinocast.errors import SetupError

from benchmarks.peers.catalogue import PEERS, ROOT
from benchmarks.peers.run import Plan, run
from benchmarks.peers.table import to_text

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True)
OURS = "vinocast"


@click.command(context_settings={"show_default": True})
@click.option(
    "--model", type=FOLDER, default=ROOT / "models" / "patchtst-etth1", help="The model's folder, as ours serves it."
)
@click.option(
    "--source", type=FOLDER, show_default="MODEL/source", help="The Hugging Face model that it was converted from."
)
@click.option(
    "--stock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True),
    show_default="exported from SOURCE",
    help="The stock graph of SOURCE as an IR.",
)
@click.option(
    "--venvs",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    default=ROOT / ".cache" / "peers",
    help="Where the peers' virtual environments are or will be: 4 GB.",
)
@click.option("--only", type=click.Choice([OURS, *PEERS]), multiple=True, help="Of the servers; ours always runs.")
@click.option("--profile", type=click.Choice(list(PROFILES)), default=DEFAULT_PROFILE, help="Of ours.")
@click.option("--seconds", type=click.FloatRange(0.05), default=6.0, help="Of each load, in all rounds together.")
@click.option("--rounds", type=click.IntRange(1), default=10, help="Turns that the seconds are cut into.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="The report as data.")
def main(
    model: Path,
    source: Path | None,
    stock: Path | None,
    venvs: Path,
    only: tuple[str, ...],
    profile: str,
    seconds: float,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Run every peer in turn with ours, and print the table."""
    peers = [name for name in PEERS if name in only or not only]
    plan = Plan(model, source or model / "source", stock, venvs, peers, seconds, rounds, profile)
    try:
        report = run(plan)
    except SetupError as error:
        raise click.ClickException(str(error)) from None
    click.echo(to_text(report))
    if json_file:
        json_file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    if not all(bar.holds for bar in report.bars):
        raise click.ClickException("a bar is missed")


if __name__ == "__main__":
    main()
