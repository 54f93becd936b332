"""The compose file as a compose program reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support import ROOT

COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text()


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command of what is there: the plugin of docker, or the program of before, which is on its own."""
    plugin, program = ["docker", "compose"], "docker-compose"
    if shutil.which("docker"):
        found = subprocess.run([*plugin, "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return plugin
    if shutil.which(program) is None:
        pytest.skip("needs docker compose or docker-compose")
    return [program]


def read(compose: list[str], text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "compose.yaml"
    # The program of before knows no names of projects.
    path.write_text(text if len(compose) > 1 else text.replace("\nname: vinocast\n", "\n"))
    command = [*compose, "--file", str(path), "--profile", "monitoring", "config"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_compose_finds_no_fault_in_the_file_and_reads_what_it_says(compose: list[str], tmp_path: Path) -> None:
    done = read(compose, COMPOSE, tmp_path)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == {"vinocast", "prometheus", "grafana"}
    assert services["vinocast"]["environment"]["VINOCAST_STATE"] == "/state"
    assert services["vinocast"]["read_only"] is services["prometheus"]["read_only"] is True


def test_compose_would_find_one(compose: list[str], tmp_path: Path) -> None:
    assert COMPOSE.count("    stop_grace_period: 5s\n") == 1
    done = read(compose, COMPOSE.replace("stop_grace_period:", "stop_grace_time:"), tmp_path)
    assert done.returncode != 0
    assert "stop_grace_time" in done.stderr
