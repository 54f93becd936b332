"""``vinocast calibrate`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import MODEL, RunVinocast, StdioService, rows

pytestmark = pytest.mark.slow


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """A file of one column, a row an hour: days with noise."""
    path = tmp_path / "mine.csv"
    values = 10 * np.sin(np.arange(1200) * np.pi / 12) + np.random.default_rng(0).standard_normal(1200)
    times = np.datetime64("2026-01-01T00:00") + np.arange(1200) * np.timedelta64(1, "h")
    path.write_text("time,load\n" + "".join(f"{time},{value:.3f}\n" for time, value in zip(times, values, strict=True)))
    return path


def test_a_copy_of_the_bundled_model_is_calibrated_and_served(
    csv: Path, tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    output = tmp_path / "models" / "mine"
    command = ("calibrate", MODEL, "--data", csv, "--output", output)
    done = run_vinocast(*command)
    assert done.returncode == 0, done.stderr
    assert "the table for any other series: of " in done.stdout
    assert "forecasts held back, bands of 50, 80 and 90 % cover " in done.stdout
    assert "the table by channel" not in done.stdout
    assert f"serve it with --models {output.parent}" in done.stderr
    again = run_vinocast(*command)
    assert again.stdout == done.stdout
    assert "nothing to do" in again.stderr
    window = np.random.default_rng(1).standard_normal((512, 2)).astype(np.float32)
    with StdioService("--models", output.parent) as service:
        reply = service.ask(rows(window, channels=["a", "b"], quantile_levels=[0.9, 0.1]))
    assert reply["success"], reply
    assert list(reply["quantiles"]) == ["0.1", "0.9"]
    low, high = (np.array(quantile) for quantile in reply["quantiles"].values())
    assert low.shape == (96, 2)
    assert (low < high).all()


def test_what_came_with_the_package_stays_as_it_came(csv: Path, run_vinocast: RunVinocast) -> None:
    done = run_vinocast("calibrate", MODEL, "--data", csv)
    assert done.returncode == 2
    assert "--output DIR/NAME" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "channels"], "mine.csv: expected columns of the model's channels, lacks 'HUFL'; it has 'load'"),
        (["--columns", "other"], "other"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    csv: Path, tmp_path: Path, run_vinocast: RunVinocast, arguments: list[str], said: str
) -> None:
    done = run_vinocast("calibrate", MODEL, "--data", csv, "--output", tmp_path / "x" / "y", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("decay", ["0", "1.5", "nan"])
def test_a_decay_is_a_share(csv: Path, tmp_path: Path, run_vinocast: RunVinocast, decay: str) -> None:
    done = run_vinocast("calibrate", MODEL, "--data", csv, "--output", tmp_path / "x" / "y", "--decay", decay)
    assert done.returncode in {1, 2}
    assert "decay" in done.stderr
    assert "Traceback" not in done.stderr
