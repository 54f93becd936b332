"""What ``vinocast bench`` starts is the service of the settings that it was given."""

from __future__ import annotations

import dataclasses

import pytest
from vinocast.cli.stdio import stdio
from vinocast.market.lengths import BarLength
from vinocast.measure.bench.processes import _options
from vinocast.settings import Settings, StdioSettings

OTHERS = Settings(
    bars=(BarLength.read("1m"), BarLength.read("1h")),
    products=("BTC-USD", "ETH-USD"),
    max_request_bytes=1 << 17,
    strict_profile=True,
    slow_seconds=0.5,
)


@pytest.mark.parametrize("settings", [Settings(), OTHERS], ids=["defaults", "others"])
def test_the_command_line_means_the_settings(settings: Settings) -> None:
    with stdio.make_context("stdio", _options(settings)) as context:
        read = StdioSettings(**context.params)
    assert dataclasses.asdict(read) == dataclasses.asdict(read) | dataclasses.asdict(settings)
