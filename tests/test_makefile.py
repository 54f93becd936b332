"""What ``make`` does with a Python that cannot make a virtual environment, and with what it leaves behind.

Nothing is installed: ``PIP=true`` stands in for pip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# As Debian's python3 without python3-venv: it has no ensurepip, and leaves a folder with a Python and without pip.
DEBIAN = f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  shift 2
  [ "$1" = "--clear" ] && shift
  {sys.executable} -m venv --without-pip "$1"
  echo "The virtual environment was not created successfully because ensurepip is not available." >&2
  exit 1
fi
exec {sys.executable} -c "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])" "$2"
"""


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    path = tmp_path / "python3"
    path.write_text(DEBIAN)
    path.chmod(0o755)
    return path


def make(venv: Path, python: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["make", f"{venv}/.runtime", f"VENV={venv}", f"PYTHON={python}", "PIP=true"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def has_pip(venv: Path) -> bool:
    return (
        subprocess.run([venv / "bin" / "python", "-m", "pip", "--version"], check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.slow
def test_a_python_without_its_venv_package_is_named_with_the_package_and_spoils_nothing(
    debian: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    done = make(venv, debian)
    assert done.returncode == 2
    assert f"apt install python3-venv python{sys.version_info[0]}.{sys.version_info[1]}-venv" in done.stderr
    assert not (venv / ".runtime").exists()

    done = make(venv, sys.executable)
    assert done.returncode == 0, done.stderr
    assert has_pip(venv)
    assert "making a virtual environment" in done.stdout
    assert "installing the pinned runtime into" in done.stdout


@pytest.mark.slow
def test_a_half_made_folder_is_made_anew_and_a_whole_one_is_kept(debian: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    assert subprocess.run([debian, "-m", "venv", venv], check=False, capture_output=True).returncode == 1
    assert (venv / "bin" / "python").exists()
    assert not has_pip(venv)
    assert make(venv, sys.executable).returncode == 0
    assert has_pip(venv)

    (venv / ".runtime").unlink()
    (venv / "kept").touch()
    # With pip in it, nothing is asked of the Python outside.
    assert make(venv, debian).returncode == 0
    assert (venv / "kept").exists()


@pytest.mark.parametrize(
    ("python", "message"),
    [("python3-nowhere", "apt install python3 python3-venv"), (None, "Python 3.11 or newer")],
    ids=["no Python", "an old one"],
)
def test_a_python_that_is_not_there_or_too_old_is_refused(python: str | None, message: str, tmp_path: Path) -> None:
    if python is None:
        old = tmp_path / "old"
        old.write_text(
            f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 10); exec(sys.argv[1])' \"$2\"\n"
        )
        old.chmod(0o755)
        python = str(old)
    done = make(tmp_path / "venv", python)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "venv").exists()
