"""What the commands that feed market streams share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from vinocast.cli.forecast import Levels, Names
from vinocast.cli.options import read_token, settings_options
from vinocast.market.lengths import BarLength
from vinocast.settings import FiniteRange, HttpSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from vinocast.client.market import OnBarTerms
    from vinocast.sources.service import Where

F = TypeVar("F", bound="Callable[..., Any]")


class Bar(click.ParamType[BarLength]):
    """The length of a bar."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the length; ends the program with a message for anything else."""
        if isinstance(value, BarLength):
            return value
        try:
            return BarLength.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def bar_option(description: str, default: str | None = None) -> Callable[[F], F]:
    """Declare ``--bar``."""
    return click.option("--bar", type=Bar(), default=default, metavar="LENGTH", help=description)


def product_option(description: str, *, several: bool = False) -> Callable[[F], F]:
    """Declare ``--product``: one that may be left out, or several, one at least."""
    return click.option("--product", metavar="NAME", multiple=several, required=several, help=description)


def number_option(
    name: str, least: float, most: float, default: float, unit: str, description: str
) -> Callable[[F], F]:
    """Declare an option that is a number between two others."""
    kind = FiniteRange(least, most)
    return click.option(name, type=kind, default=default, metavar=unit, help=description)


def market_options(function: F) -> F:
    """Declare what is asked of each forecast, and of whom."""
    options = (
        click.option("--targets", type=Names(), metavar="A,B,…", help="Channels to forecast.  [default: all]"),
        click.option("--prediction-length", type=click.IntRange(1, 100_000), metavar="N", help="Bars to forecast."),
        click.option(
            "--quantiles", type=Levels(), default="0.1,0.9", metavar="0.1,0.9", help="Quantiles beside each forecast."
        ),
        click.option("--no-quantiles", is_flag=True, help="Ask for none, which not every model has."),
        click.option(
            "--missing",
            type=click.Choice(["refuse", "interpolate"]),
            default="refuse",
            help="What becomes of bars that are missing among those that the model reads.",
        ),
        click.option("--model", metavar="NAME", help="Model that forecasts.  [default: the service's for streams]"),
        click.option("--json", is_flag=True, help="Print JSON lines, and the report as the last of them."),
        click.option(
            "--url", metavar="URL", help="Feed a service that runs, in place of one started for this command alone."
        ),
        settings_options(HttpSettings, "token_file"),
        settings_options(Settings, "models", "default_model", "profile"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def read_terms(options: dict[str, Any]) -> OnBarTerms:
    """Take what is asked of each forecast out of the options of a command."""
    quantiles, without = options.pop("quantiles"), options.pop("no_quantiles")
    return {
        "on_bar": True,
        "model": options.pop("model"),
        "targets": options.pop("targets"),
        "prediction_length": options.pop("prediction_length"),
        "quantile_levels": None if without else quantiles,
        "missing": options.pop("missing"),
    }


def read_where(options: dict[str, Any]) -> Where:
    """Take who is fed out of the options of a command."""
    from vinocast.sources.service import Where

    url, token_file = options.pop("url"), options.pop("token_file")
    if url is None and token_file is not None:
        raise click.UsageError("--token-file is of --url")
    if url is not None and (given := _given("models", "default_model", "profile", "state")):
        raise click.UsageError(f"{given} is of a service that is started here, and --url names one that runs")
    token = read_token(token_file) if url is not None else None
    return Where(
        url=url,
        token=token.decode() if token else None,
        models=options.pop("models"),
        default_model=options.pop("default_model"),
        profile=options.pop("profile"),
        state=options.pop("state", None),
    )


def _given(*names: str) -> str:
    """Return the options that stand in the command itself, and not in a variable that is for others as well."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return " and ".join(f"--{name.replace('_', '-')}" for name in given)
