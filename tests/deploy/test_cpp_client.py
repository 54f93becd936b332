"""The C++ client: it builds without a warning, its tests pass under the address and undefined-behaviour sanitizers, its
numbers are those of the Python path, its example runs, and another project can use what it installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import MODEL, MODELS, ROOT, VINOCAST, random_windows

from scripts.inference_openvino import PatchTSTOpenVINOInference

CLIENT = ROOT / "deploy" / "cpp"
PAGE = (ROOT / "docs" / "cpp.md").read_text()
CANDLES = Path(os.environ.get("VINOCAST_SHARED_DATA", ROOT.parent / "shared" / "data")) / "coinbase" / "BTCUSD_1h.csv"
PACKAGES = "g++ cmake libsimdjson-dev doctest-dev"
HEADERS = {"simdjson.h": "libsimdjson-dev", "doctest/doctest.h": "doctest-dev"}
CHANNELS = 7

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, **environment: str) -> str:
    """Run a command to its end, and return what it printed; fail with that if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "VINOCAST_PROGRAM": str(VINOCAST), **environment},
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def tools() -> None:
    """What a build needs; without it these tests fail, so that nobody takes them for passed."""
    missing = [program for program in ("cmake", "g++", "make") if shutil.which(program) is None]
    if "g++" not in missing:
        for header, package in HEADERS.items():
            found = subprocess.run(
                ["g++", "-E", "-x", "c++", "-include", header, "/dev/null"], capture_output=True, check=False
            )
            if found.returncode:
                missing.append(package)
    if missing:
        pytest.fail(f"missing: {', '.join(missing)}; as root: apt-get install {PACKAGES} make")


@pytest.fixture(scope="session")
def build(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with sanitizers, in a folder of its own."""
    folder = tmp_path_factory.mktemp("cpp")
    run("cmake", "-S", CLIENT, "-B", folder, "-DVINOCAST_SANITIZE=address,undefined")
    run("cmake", "--build", folder, "--parallel", str(os.cpu_count() or 1))
    return folder


def test_ctest_passes_with_the_numbers_of_the_python_path(build: Path, tmp_path: Path) -> None:
    windows = np.stack(random_windows(8, seed=5))
    forecasts = PatchTSTOpenVINOInference(MODELS / MODEL).predict(windows)
    expected = tmp_path / "expected"
    expected.write_bytes(windows.astype("<f4").tobytes() + np.asarray(forecasts).astype("<f4").tobytes())
    printed = run(
        "ctest", "--test-dir", build, "--parallel", "2", "--output-on-failure", VINOCAST_EXPECTED=str(expected)
    )
    assert "100% tests passed, 0 tests failed out of 5" in printed


def forecasts_of(printed: str) -> list[list[str]]:
    """The lines of the example that carry a forecast, in columns."""
    return [line.split() for line in printed.splitlines() if re.match(r"\d{5,} ", line)]


def test_example_forecasts_each_bar_of_a_plain_file(build: Path, tmp_path: Path) -> None:
    (walk,) = random_windows(1, seed=6)
    table = tmp_path / "bars.csv"
    with table.open("w") as file:
        file.write("timestamp," + ",".join(f"c{i}" for i in range(1, CHANNELS + 1)) + "\n")
        for step, row in enumerate(np.concatenate((walk, walk[:5]))):
            file.write(f"{1700000000000 + step * 1000}," + ",".join(map(str, row)) + "\n")
    lines = forecasts_of(run(build / "stream_processor", table, "--bars", "5"))
    assert [line[0] for line in lines] == [str(1700000000000 + step * 1000) for step in range(512, 517)]
    whole = np.concatenate((walk, walk[:5]))
    model = PatchTSTOpenVINOInference(MODELS / MODEL)
    for step, (_, now, forecast, *_) in enumerate(lines):
        window = whole[step + 1 : step + 513]
        assert float(now) == pytest.approx(window[-1, -1], abs=1e-4)
        assert float(forecast) == pytest.approx(model.predict(window)[0, -1], rel=1e-4)


@pytest.mark.shared_data
def test_example_sorts_real_candles(build: Path) -> None:
    lines = forecasts_of(run(build / "stream_processor", CANDLES, "--bars", "3"))
    # The newest three hours of the file, whose first row is the newest.
    assert [line[0] for line in lines] == ["1571295600000", "1571299200000", "1571302800000"]
    assert [float(line[1]) for line in lines] == pytest.approx([7975.89, 8051, 8035.88], abs=1e-2)


def test_another_project_can_use_what_is_installed(build: Path, tmp_path: Path) -> None:
    run("cmake", "--install", build, "--prefix", tmp_path / "prefix")
    # The page's own example of a CMakeLists.txt and of a program.
    listing, program = (
        re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
        for language in ("cmake", "cpp")
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(listing)
    (project / "main.cpp").write_text(program)
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")
    run("cmake", "--build", project / "build")
    printed = run(project / "build" / "my_pipeline", PATH=f"{VINOCAST.parent}:{os.environ['PATH']}")
    assert re.search(r"next value of \w+: -?\d", printed)


def test_the_page_names_every_option_and_outcome() -> None:
    options = (CLIENT / "vinocast" / "options.h").read_text()
    names = re.findall(r"^  [\w:<>(&) ]+? (\w+)(?: = [^;]+)?(?:\{.*\})?;", options, re.MULTILINE)
    assert len(names) > 10
    (outcomes,) = re.findall(
        r"enum class Outcome \{(.*?)\}", (CLIENT / "vinocast" / "messages.h").read_text(), re.DOTALL
    )
    names += re.findall(r"^  (\w+),", outcomes, re.MULTILINE)
    assert [name for name in names if f"`{name}`" not in PAGE] == []
