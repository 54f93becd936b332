"""Other projects can use the C++ client, installed or as a part of themselves, as its page says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from cpp_support import CLIENT, PAGE, run
from support import VINOCAST

from examples import made_market

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


def test_another_project_can_use_what_is_installed(build: Path, tmp_path: Path) -> None:
    run("cmake", "--install", build, "--prefix", tmp_path / "prefix")
    # The page's own example of a CMakeLists.txt and of a program.
    (listing, _) = re.findall(r"```cmake\n(.*?)```", PAGE, re.DOTALL)
    program, statements, market = re.findall(r"```cpp\n(.*?)```", PAGE, re.DOTALL)
    # The page's second piece are statements; it is enough that they compile.
    program += "int other(int argc, char** argv);\nint other(int, char**) {\n" + statements + "return reply.ok();\n}\n"
    project = tmp_path / "project"
    project.mkdir()
    own = "add_executable(my_market market.cpp)\ntarget_link_libraries(my_market PRIVATE vinocast::client)\n"
    (project / "CMakeLists.txt").write_text(listing + own)
    (project / "main.cpp").write_text(program)
    (project / "market.cpp").write_text(market)
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")
    run("cmake", "--build", project / "build")
    printed = run(project / "build" / "my_pipeline", PATH=f"{VINOCAST.parent}:{os.environ['PATH']}")
    assert re.search(r"next value of \w+: -?\d", printed)
    made_market.write(tmp_path)
    capture = (tmp_path / "capture.jsonl").read_text()
    printed = run(project / "build" / "my_market", stdin=capture, PATH=f"{VINOCAST.parent}:{os.environ['PATH']}")
    assert len(re.findall(r"^BTC-USD@5m: a bar has closed at 6\d+\.\d+, (?:in)?complete$", printed, re.MULTILINE)) == 6
    assert len(re.findall(r"^BTC-USD@5m: stream: expected 512 closed bars", printed, re.MULTILINE)) == 6
    assert "invalid_request: message: " in printed
    assert "ETH-USD" not in printed
    # Without the service it says so, and ends as it means to.
    printed = run(project / "build" / "my_pipeline", expected=1, PATH=str(tmp_path))
    assert "cannot start vinocast: No such file or directory; put it in PATH, or set Options::program" in printed


PARENT = """cmake_minimum_required(VERSION 3.18)
project(parent LANGUAGES CXX)
{simdjson}
{subproject}
if(NOT CMAKE_BUILD_TYPE STREQUAL "")
  message(FATAL_ERROR "the build type became ${{CMAKE_BUILD_TYPE}}")
endif()
add_executable(parent main.cpp)
target_link_libraries(parent PRIVATE vinocast::client)
install(TARGETS parent)
"""
OWN_SIMDJSON = """
set(CMAKE_DISABLE_FIND_PACKAGE_simdjson ON)
find_library(SIMDJSON simdjson REQUIRED)
add_library(simdjson INTERFACE)
target_link_libraries(simdjson INTERFACE ${SIMDJSON})
"""


@pytest.mark.parametrize(
    "simdjson", ["", OWN_SIMDJSON, OWN_SIMDJSON + "add_library(simdjson::simdjson ALIAS simdjson)"]
)
def test_another_project_can_contain_it(tools: None, tmp_path: Path, simdjson: str) -> None:
    # The page's own way, with the folder where it is; one outside needs a folder to build in.
    (_, subproject) = re.findall(r"```cmake\n(.*?)```", PAGE, re.DOTALL)
    assert "vinocast/deploy/cpp" in subproject
    subproject = subproject.replace("vinocast/deploy/cpp", f"{CLIENT} client")
    (tmp_path / "CMakeLists.txt").write_text(PARENT.format(simdjson=simdjson, subproject=subproject))
    (tmp_path / "main.cpp").write_text(
        "#include <vinocast/inference_engine.h>\nint main() { return vinocast::Reply{}.ok() ? 1 : 0; }\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    if simdjson:
        return
    run("cmake", "--build", tmp_path / "build")
    run(tmp_path / "build" / "parent")
    run("cmake", "--install", tmp_path / "build", "--prefix", tmp_path / "prefix")
    assert [file.name for file in (tmp_path / "prefix").rglob("*") if file.is_file()] == ["parent"]
