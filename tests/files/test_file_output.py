"""What ``vinocast forecast`` writes: tables, JSON, Parquet and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import orjson
import pyarrow
import pytest
from file_support import numbers, rows_of, walk, write_long, write_wide
from PIL import Image
from pyarrow import parquet
from support import ROOT, RunVinocast
from vinocast.data.times.moment import read_moment
from vinocast.data.times.steps import read_frequency

HOST = ROOT / "examples" / "host.csv"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "mine.csv"], "--output mine.csv is FILE itself"),
        (["--output", "./mine.csv", "--format", "csv"], "--output mine.csv is FILE itself"),
        (["--plot", "link.html"], "--plot link.html is FILE itself"),
        (["--output", "x.html", "--format", "json", "--plot", "x.html"], "--plot x.html is --output itself"),
    ],
)
def test_what_is_read_is_never_written_over(
    run_vinocast: RunVinocast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_long(tmp_path / "mine.csv", walk(520, 1))
    (tmp_path / "link.html").symlink_to("mine.csv")
    before = (tmp_path / "mine.csv").read_bytes()
    done = run_vinocast("forecast", "mine.csv", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert (tmp_path / "mine.csv").read_bytes() == before


def test_every_form_of_output_says_the_same(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    write_long(tmp_path / "long.csv", walk(520, 3))
    options = ["--models", models, "--default-model", "sure", "--quantiles", "0.1,0.9", "--prediction-length", "5"]
    common = ["forecast", tmp_path / "long.csv", *options]
    for suffix in ("csv", "json", "parquet"):
        done = run_vinocast(*common, "--output", tmp_path / f"out.{suffix}")
        assert (done.returncode, done.stdout) == (0, "")
    header, rows = rows_of((tmp_path / "out.csv").read_text())
    assert header == ["item_id", "timestamp", "target", "target_0.1", "target_0.9"]
    read = parquet.read_table(tmp_path / "out.parquet")
    assert read.column_names == header
    assert read.schema.field("timestamp").type == pyarrow.timestamp("ns")
    outputs = orjson.loads((tmp_path / "out.json").read_bytes())["outputs"]
    assert [output["item_id"] for output in outputs] == ["item 0", "item 1", "item 2"]
    for place, row in enumerate(rows):
        output, step = outputs[place // 5], place % 5
        typed = [read[name][place].as_py() for name in header]
        assert [typed[0], str(typed[1])[:10]] == row[:2] == [output["item_id"], output["timestamps"][step]]
        of_json = [output["predictions"][step], *(output["quantiles"][level][step] for level in ("0.1", "0.9"))]
        assert np.array(row[2:], np.float32).tolist() == typed[2:] == np.array(of_json, np.float32).tolist()


def test_json_of_a_wide_table_is_as_the_service_answers(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path
) -> None:
    write_wide(tmp_path / "wide.csv", walk(520, 3))
    options = ["--models", models, "--default-model", "sure", "--quantiles", "0.1,0.9", "--prediction-length", "5"]
    done = run_vinocast("forecast", tmp_path / "wide.csv", *options, "--format", "json")
    assert done.returncode == 0, done.stderr
    answer = orjson.loads(done.stdout)
    made = np.concatenate([answer["predictions"], *(answer["quantiles"][level] for level in ("0.1", "0.9"))], axis=1)
    _, rows = rows_of(run_vinocast("forecast", tmp_path / "wide.csv", *options).stdout)
    np.testing.assert_array_equal(made.astype(np.float32), numbers(rows))


def test_parquet_comes_back_as_it_went(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    values = walk(520, 2)
    write_wide(tmp_path / "mine.csv", values)
    times = read_moment("2024-03-01T00:00:00").after(read_frequency("h"), 0, 520)
    moments = pyarrow.array(np.array(times, "datetime64[ns]"), pyarrow.timestamp("ns", "UTC"))
    parquet.write_table(
        pyarrow.table({"date": moments, "c0": values[:, 0], "c1": values[:, 1]}), tmp_path / "mine.parquet"
    )
    done = run_vinocast("forecast", tmp_path / "mine.parquet", "--output", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    read = parquet.read_table(tmp_path / "out.parquet")
    assert read["date"][0].as_py().isoformat() == "2024-03-22T16:00:00+00:00"
    plain = numbers(rows_of(run_vinocast("forecast", tmp_path / "mine.csv").stdout)[1])
    np.testing.assert_array_equal(np.stack([read["c0"], read["c1"]], axis=1), plain)


def test_a_picture_has_each_series_with_its_history(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    values = walk(520, 2)
    write_wide(tmp_path / "mine.csv", values)
    options = ["--models", models, "--default-model", "sure", "--prediction-length", "24"]
    for suffix in ("html", "png"):
        done = run_vinocast("forecast", tmp_path / "mine.csv", *options, "--plot", tmp_path / f"out.{suffix}")
        assert done.returncode == 0, done.stderr
        # The bands of the picture are no quantiles that were asked for.
        assert rows_of(done.stdout)[0] == ["date", "c0", "c1"]
    page = (tmp_path / "out.html").read_text()
    drawn = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", page, re.DOTALL)
    assert drawn
    traces = orjson.loads(drawn[1])
    named = [trace["name"] for trace in traces]
    assert named.count("history") == named.count("forecast") == 2
    assert named.count("0.1 to 0.9") == 2
    assert "<script src" not in page
    with Image.open(tmp_path / "out.png") as image:
        image.load()
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or ()}
        assert {(0x6E, 0x6E, 0x6E), (0x1F, 0x77, 0xB4)} <= colours


def test_names_of_any_kind_are_drawn_and_written(run_vinocast: RunVinocast, models: Path, tmp_path: Path) -> None:
    values = walk(512, 3)
    path = tmp_path / "mine.csv"
    write_wide(path, values)
    names = ['"</script><script>alert(1)</script>"', "$a_b$", "\x1b[31m雨"]
    path.write_text(path.read_text().replace("c0,c1,c2", ",".join(names)))
    options = ["--models", models, "--default-model", "plain", "--prediction-length", "2"]
    for suffix in ("html", "png"):
        done = run_vinocast("forecast", path, *options, "--plot", tmp_path / f"out.{suffix}")
        assert done.returncode == 0, done.stderr
        assert rows_of(done.stdout)[0] == ["date", names[0].strip('"'), *names[1:]]
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr
    assert "<script>alert" not in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("head", "options", "name", "form"),
    [
        ("date,a,a_0.1", ["--quantiles", "0.1,0.9"], "a_0.1", "parquet"),
        ("date,a,a_0", ["--quantiles=-0.0"], "a_0", "csv"),
        ("x,step,y", [], "step", "csv"),
    ],
)
def test_columns_that_would_have_one_name_are_refused(
    run_vinocast: RunVinocast, models: Path, tmp_path: Path, head: str, options: list[str], name: str, form: str
) -> None:
    path = tmp_path / "mine.csv"
    write_wide(path, walk(512, 2))
    header, *rows = path.read_text().splitlines()
    # Without times, and with numbers in no order, steps are counted in a column that is called so.
    rows = rows if head.startswith("date") else [f"at {row}" for row in rows]
    path.write_text("\n".join([header.replace("date,c0,c1", head), *rows, ""]))
    common = ["forecast", path, "--models", models, "--default-model", "sure", "--prediction-length", "2", *options]
    done = run_vinocast(*common, "--format", form)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"two columns of what is written would be called '{name}'" in done.stderr
    # An object has them apart.
    answer = orjson.loads(run_vinocast(*common, "--format", "json").stdout)
    assert answer["channels"] == [each for each in head.split(",") if each not in ("date", "x")]
    assert np.array(answer["predictions"]).shape == (2, 2)


def test_a_forecast_that_ends_after_the_last_year_is_refused(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = [f"{item},2261-12-{day:02d},{day}" for item in "ab" for day in range(1, 30 + (item == "b"))]
    path.write_text("\n".join(["item_id,date,target", *rows, ""]))
    common = ["forecast", path, "--short", "pad", "--prediction-length"]
    done = run_vinocast(*common, "2", "--plot", tmp_path / "out.html")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith(
        "item_id 'b': a time lies outside the years 1678 to 2261, 2 steps of 1 day after the last row: ask for fewer "
        "with --prediction-length"
    )
    assert not (tmp_path / "out.html").exists()
    assert rows_of(run_vinocast(*common, "1").stdout)[1][1][:2] == ["b", "2261-12-31"]
