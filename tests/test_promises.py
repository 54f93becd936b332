"""Each promise of docs/promises.md names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from support import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()
PROMISES, _, OTHERS = PAGE.partition("## What it does not promise")
ITEMS = re.split(r"^- ", PROMISES, flags=re.MULTILINE)[1:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def defined_in(path: str) -> set[str]:
    """The tests that a file defines; of a file that is not there, none."""
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item[:50])
def test_a_promise_names_tests_that_are_there(item: str) -> None:
    named = NAMED.findall(item)
    assert named, "no test holds it"
    assert [f"{path}::{name}" for path, name in named if name not in defined_in(path)] == []


def test_nothing_that_looks_like_a_test_is_passed_over() -> None:
    assert len(ITEMS) > 30
    assert PAGE.count("::") == len(NAMED.findall(PROMISES))
    assert "::" not in OTHERS
