"""A wheel carries the bundled models and serves from any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import orjson
import pytest
from support import MODEL, ROOT, Service, packed, wait_until

pytestmark = pytest.mark.slow


def test_a_wheel_serves_its_own_models_from_any_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, ROOT], check=True, timeout=120)
    (wheel,) = tmp_path.glob("vinocast-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.split("/")[0] for name in names} == {
        "vinocast",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }
    assert f"vinocast/models/{MODEL}/model.bin" in names

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # -P keeps the current folder off the path, and PYTHONPATH puts the wheel before the checkout.
    requests = [packed(np.ones((512, 7), np.float32), request_id=1), {"op": "ping", "request_id": 2}]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vinocast", "stdio"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        input=b"\n".join(map(orjson.dumps, requests)),
        capture_output=True,
        check=True,
        timeout=120,
    )
    forecast, ping = sorted(map(orjson.loads, done.stdout.splitlines()), key=lambda reply: reply["request_id"])
    assert forecast["success"]
    assert ping["default_model"] == MODEL
    assert (
        str(site)
        in subprocess.run(
            [sys.executable, "-P", "-c", "import vinocast.data.bundled as m; print(m.bundled_models())"],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    )
    # What serve offers to try works from there too.
    with Service(
        sys.executable,
        *("-P", "-m", "vinocast", "serve", "--port", "0"),
        cwd=elsewhere,
        env={"PYTHONPATH": str(site)},
    ) as service:
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        commands = re.findall(r"^  (curl .*)$", service.log, re.MULTILINE)
        assert len(commands) == 2
        for command in commands:
            assert str(site) in command
            tried = subprocess.run(command, shell=True, cwd=elsewhere, capture_output=True, check=True, timeout=60)
            assert orjson.loads(tried.stdout)["success"], tried.stdout

    # What is damaged in it comes from a wheel again: there is nothing to convert.
    (site / "vinocast" / "models" / MODEL / "model.bin").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vinocast", "doctor"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert b"it came with Vinocast: install the wheel again" in done.stdout

    # What it lacks is installed from the same file.
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import vinocast.extras as e; print(e.install_line('convert'))"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.decode().endswith(f" -m pip install '{wheel.name}[convert]'\n")
