"""The C++ client builds without a warning with two compilers, its tests pass under the address and undefined-behaviour
sanitizers, and its numbers are those of the Python path."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cpp_support import CLIENT, PAGE, STRICT, lacking, run
from support import SHARED_DATA, StdioService, packed, random_windows

SUITES: tuple[str, ...] = ("wire", "market_wire", "pushes", "market", "times", "candles_csv", "numbers")
SUITES += ("lifecycle", "hostile", "fork", "load", "fast_math")

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


def test_ctest_passes_with_the_numbers_of_the_python_path(build: Path, tmp_path: Path) -> None:
    windows = np.stack(random_windows(8, seed=5))
    # Not in this process: another test may have compiled a graph here without a cap, which decides the last digits.
    with StdioService() as service:
        forecasts = [service.ask(packed(window))["predictions"] for window in windows]
    expected = tmp_path / "expected"
    expected.write_bytes(windows.astype("<f4").tobytes() + np.array(forecasts, np.float32).astype("<f4").tobytes())
    printed = run(
        "ctest", "--test-dir", build, "--parallel", "2", "--output-on-failure", VINOCAST_EXPECTED=str(expected)
    )
    assert f"100% tests passed, 0 tests failed out of {len(SUITES)}" in printed
    for suite in SUITES:
        assert re.search(rf"{suite} \.+ +Passed", printed)


@pytest.mark.shared_data
def test_the_faults_that_the_project_keeps_give_the_bars_that_they_say(build: Path) -> None:
    faults = SHARED_DATA / "coinbase" / "feed_faults.json"
    printed = run(build / "tests" / "client_tests", "--test-suite=market", VINOCAST_TEST_FEED_FAULTS=str(faults))
    assert "| 0 failed" in printed


@pytest.mark.slow
def test_gcc_builds_it_without_a_warning_as_the_page_says(tools: None, tmp_path: Path) -> None:
    assert "\ncmake -S deploy/cpp -B build && cmake --build build && ctest --test-dir build\n" in PAGE
    run("cmake", "-S", CLIENT, "-B", tmp_path, STRICT)
    run("cmake", "--build", tmp_path, "--target", "client_tests")
    run("ctest", "--test-dir", tmp_path, "--output-on-failure", "-R", "wire|times|candles_csv")


def test_clang_builds_it_without_a_warning(tools: None, tmp_path: Path) -> None:
    """What g++ finds only when it optimizes, it finds in `fast_math_tests`, which the other build has."""
    if shutil.which("clang++") is None:
        lacking("clang")
    run("cmake", "-S", CLIENT, "-B", tmp_path, "-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_BUILD_TYPE=Debug", STRICT)
    run("cmake", "--build", tmp_path, "--target", "client_tests", "stream_processor", "feed_rate")
    run("ctest", "--test-dir", tmp_path, "--output-on-failure", "-R", "wire|pushes|times|candles_csv|fork")


def test_the_style_is_that_of_clang_format() -> None:
    found = shutil.which("clang-format")
    if found is None:
        lacking("clang-format")
    version = run("clang-format", "--version")
    if " 14." not in version:
        pytest.skip(
            f"the style is that of clang-format 14, and other releases lay out a few lines otherwise: {version}"
        )
    files = [file for kind in ("*.h", "*.cpp") for file in CLIENT.glob(f"*/{kind}")]
    assert len(files) > 20
    run("clang-format", "--dry-run", "-Werror", *files)


def test_without_exceptions_the_compiler_says_why(tools: None, tmp_path: Path) -> None:
    program = tmp_path / "main.cpp"
    program.write_text("#include <vinocast/inference_engine.h>\n")
    options = ("-std=c++17", "-fno-exceptions", "-fsyntax-only", "-Wfatal-errors", f"-I{CLIENT}")
    printed = run("g++", *options, program, expected=1)
    assert "it does not build with -fno-exceptions" in printed


def test_the_page_names_every_option_and_outcome() -> None:
    options = (CLIENT / "vinocast" / "options.h").read_text()
    names = re.findall(r"^  [\w:<>(&) ]+? (\w+)(?: = [^;]+)?(?:\{.*\})?;", options, re.MULTILINE)
    assert len(names) > 10
    (outcomes,) = re.findall(
        r"enum class Outcome \{(.*?)\}", (CLIENT / "vinocast" / "messages.h").read_text(), re.DOTALL
    )
    names += re.findall(r"^  (\w+),", outcomes, re.MULTILINE)
    assert [name for name in names if f"`{name}`" not in PAGE] == []
