"""The example of /etc/vinocast.env: each setting of the service, at its default, in a form that is read as such."""

from __future__ import annotations

import dataclasses
import re

import pytest
from support import ROOT
from vinocast.cli.serve import serve
from vinocast.cli.variables import variable
from vinocast.settings import HttpSettings

LINES = (ROOT / "deploy" / "systemd" / "vinocast.env").read_text().splitlines()
GIVEN = {found[1]: found[2] for line in LINES if (found := re.fullmatch(r"#(VINOCAST_[A-Z_]+)=(.*)", line))}


def test_every_line_is_a_comment_so_that_a_copy_changes_nothing() -> None:
    assert [line for line in LINES if line and not line.startswith("#")] == []


def test_it_names_every_setting_and_nothing_else() -> None:
    settings = [field.name for field in dataclasses.fields(HttpSettings) if field.metadata]
    assert list(GIVEN) == [variable("serve", name) for name in settings]


def test_each_stands_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    default = serve.make_context("serve", []).params
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    assert serve.make_context("serve", []).params == default
    assert default["port"] == int(GIVEN["VINOCAST_PORT"])
