"""The program that users of the glyph chain have: its flags, its lines, its files, and what it does with bad input."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from chain_support import SCRIPT, Run, assert_alike, expected_answers, faults, read, run_script
from glyph_support import LABELS, STRANGER, GlyphFolder, phase2, save, write_png
from support import ROOT, VINOCAST, uncapped
from vinocast.recognition.command import main

IMPORTS = """
import sys
from vinocast.recognition.command import main
for name in {hidden!r}:
    sys.modules[name] = None
code = main(sys.argv[1:])
print("loaded:", *({{"torch", "openvino", "onnx"}} & set(filter(sys.modules.get, sys.modules))))
sys.exit(code)
"""


def test_torch_fast_and_plain_openvino_fast_and_plain_give_the_same(glyphs: GlyphFolder, run: Run) -> None:
    ways = {"torch": [], "plain": ["--plain"], "openvino": ["--use-openvino"], "both": ["--use-openvino", "--plain"]}
    answers = {}
    for name, options in ways.items():
        output = glyphs.folder / f"{name}.jsonl"
        code, _, err = run(*glyphs.options(), "--quiet", "--output_json", output, *options)
        assert (code, faults(err)) == (0, [])
        answers[name] = read(output)
    expected, _ = expected_answers(glyphs)
    labels = {file: [entry["label"] for entry in topk] for file, topk in answers["plain"].items()}
    assert labels == expected
    assert_alike(answers["torch"], answers["plain"], 1e-6)
    assert_alike(answers["both"], answers["openvino"], 1e-6)
    assert_alike(answers["openvino"], answers["plain"], 1e-3)


def test_the_lines_and_the_files_are_those_of_the_contract(glyphs: GlyphFolder) -> None:
    output = glyphs.folder / "new" / "answers.jsonl"
    options = glyphs.options()
    done = run_script(*options, "--summary", "--topk", "3", "--output_json", output, "--use-openvino", "--stages")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert re.fullmatch(
        r"\[INFO\] Starting inference \| rasters=24 \| device=openvino:CPU f32 \| phase1_params=183904 "
        r"\| phase2_params=\d+",
        first,
    )
    answers = read(output)
    bases = {label: chr(int(label.split("_")[0])) for label in LABELS}
    expected = []
    for file, topk in answers.items():
        label = file.rpartition("_")[0]
        ranked = [entry["label"] for entry in topk]
        assert [entry["rank"] for entry in topk] == [1, 2, 3]
        assert [entry["base"] for entry in topk] == [bases[name] for name in ranked]
        assert sorted((entry["prob"] for entry in topk), reverse=True) == [entry["prob"] for entry in topk]
        mark = "✅" if ranked[0] == label else "❗" if label in ranked else "❌"
        expected.append(
            f"{bases[label]} -> {bases[ranked[0]]} [{', '.join(bases[name] for name in ranked)}] ({file}) {mark}"
        )
    assert lines[:24] == expected
    timing, stages, summary, done_line = lines[24:]
    assert re.fullmatch(r"\[TIMING\] Inference time: \d+\.\d{3}s for 24 glyphs \(\d+\.\d\dms per glyph\)", timing)
    assert stages.startswith("[STAGES] ")
    right = sum(line.endswith("✅") for line in expected)
    fives, _ = expected_answers(glyphs)
    within = sum(file.rpartition("_")[0] in ranked for file, ranked in fives.items())
    assert summary == (
        f"[SUMMARY] samples=24 top1_acc={right / 24:.4f} top5_contains_rate={within / 24:.4f} "
        f"top1_matches={right} top5_contains={within}"
    )
    assert done_line == "[DONE] Inference complete."


def test_bad_rasters_are_said_and_counted_and_the_rest_goes_on(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "rasters"
    folder.mkdir()
    good = (glyphs.rasters / glyphs.files[0]).read_bytes()
    (folder / "66_latin_1.png").write_bytes(good)
    (folder / "66_latin_2.png").write_bytes(good[: len(good) // 2])
    write_png(folder / "66_latin_3.png", np.zeros((64, 64), np.uint8))
    (folder / f"{STRANGER}_4.png").write_bytes(good)
    (folder / "noise.png").write_bytes(good)
    os.mkfifo(folder / "66_latin_5.png")
    (folder / "66_latin_6.png").symlink_to("/dev/zero")
    (folder / "notes.txt").write_text("no raster")
    for options in ([], ["--plain"]):
        output = tmp_path / "out.jsonl"
        code, out, err = run(*glyphs.options(rasters_dir=folder), "--summary", "--output_json", output, *options)
        assert code == 0
        assert list(read(output)) == ["66_latin_1.png", f"{STRANGER}_4.png", "noise.png"]
        # The one whose label the model lacks is a miss; the one without a label is not judged.
        assert "samples=2 " in out
        assert " unlabelled=1\n" in out
        assert re.search(rf"^\? -> .* \({STRANGER}_4\.png\) ❌$", out, re.MULTILINE)
        assert re.search(r"^\? -> .* \(noise\.png\)$", out, re.MULTILINE)
        assert "66_latin_2.png: the PNG is damaged" in err
        assert "66_latin_3.png: expected 128x128 pixels, got 64x64" in err
        assert "66_latin_5.png: expected a file, got something else" in err
        assert "66_latin_6.png: expected a file, got something else" in err
        assert "skipped: 4 that cannot be read" in err


def test_a_line_feed_in_the_name_of_a_file_splits_no_line(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "rasters"
    folder.mkdir()
    (folder / "66_latin\n_1.png").write_bytes((glyphs.rasters / glyphs.files[0]).read_bytes())
    (folder / "66_latin\n_2.png").write_bytes(b"no PNG")
    code, out, err = run(*glyphs.options(rasters_dir=folder), "--output_json", tmp_path / "out")
    assert code == 0
    assert re.search(r"^. -> .*\(66_latin\\n_1\.png\)", out, re.MULTILINE)
    assert r"[WARN] 66_latin\n_2.png: expected a PNG" in err
    assert list(read(tmp_path / "out")) == ["66_latin\n_1.png"]


def test_warnings_that_nobody_can_take_lose_no_answers(glyphs: GlyphFolder, tmp_path: Path) -> None:
    folder = tmp_path / "rasters"
    folder.mkdir()
    (folder / "66_latin_1.png").write_bytes((glyphs.rasters / glyphs.files[0]).read_bytes())
    (folder / "66_latin_2.png").write_bytes(b"no PNG")
    command = [sys.executable, str(SCRIPT), *glyphs.options(rasters_dir=folder), "--output_json", str(tmp_path / "out")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=False, timeout=170)
    assert done.returncode == 0
    assert list(read(tmp_path / "out")) == ["66_latin_1.png"]


def test_without_a_raster_that_can_be_read_the_exit_code_is_1(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    assert run(*glyphs.options(rasters_dir=tmp_path))[0] == 1
    (tmp_path / "66_latin_2.png").write_bytes(b"junk")
    code, _, err = run(*glyphs.options(rasters_dir=tmp_path))
    assert code == 1
    assert "[error] nothing could be recognised" in err


@pytest.mark.parametrize("name", ["rasters_dir", "phase1_ckpt", "phase2_ckpt", "label_map", "chars_csv"])
def test_a_missing_path_is_named(glyphs: GlyphFolder, run: Run, name: str) -> None:
    code, _, err = run(*glyphs.options(**{name: Path("no/such")}))
    assert (code, err) == (2, f"[error] Missing required path: {name}=no/such\n")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--arch", "transformer"], "no transformer"),
        (["--use-sequence-context"], "no context of neighbouring glyphs"),
        (["--context-window", "3"], "no context of neighbouring glyphs"),
        (["--topk", "0"], "--topk: expected a number above 0"),
        (["--openvino-precision", "int8"], "needs --use-openvino"),
    ],
)
def test_wrong_usage_ends_with_2(
    glyphs: GlyphFolder, capsys: pytest.CaptureFixture[str], options: list[str], fault: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*glyphs.options(), *options])
    assert fault in capsys.readouterr().err


def test_limits_order_and_splits_choose_the_rasters(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    def files(*options: str | Path) -> list[str]:
        output = tmp_path / "out.jsonl"
        code, _, err = run(*glyphs.options(), "--quiet", "--output_json", output, *options)
        assert code == 0, err
        return list(read(output))

    assert files() == sorted(glyphs.files)
    assert files("--limit", "-1") == sorted(glyphs.files)
    assert files("--limit", "3") == sorted(glyphs.files)[:3]
    shuffled = files("--shuffle", "--limit", "6")
    assert (
        shuffled
        == files("--shuffle", "--limit", "6", "--seed", "42")
        != files("--shuffle", "--limit", "6", "--seed", "7")
    )
    assert shuffled != sorted(shuffled)
    each = files("--all-classes", "--limit", "2")
    assert sorted(file.rpartition("_")[0] for file in each) == sorted(LABELS * 2)

    (tmp_path / "phase2_test_ids.txt").write_text("5\n17\n9999\n", encoding="utf-8-sig")
    chosen = files("--use-test-split", "--splits-dir", tmp_path)
    assert sorted(file.rpartition("_")[2] for file in chosen) == ["17.png", "5.png"]
    _, _, err = run(*glyphs.options(), "--quiet", "--use-test-split", "--splits-dir", tmp_path)
    assert "id 9999 of the test split is not there" in err
    assert run(*glyphs.options(), "--use-test-split")[0] == 2


def test_the_grid_is_shown(glyphs: GlyphFolder, run: Run) -> None:
    _, out, _ = run(*glyphs.options(), "--show_grid", "--limit", "1")
    rows = out.splitlines()[2:18]
    _, grids = expected_answers(glyphs)
    first = glyphs.files.index(sorted(glyphs.files)[0])
    assert [list(map(int, row.split())) for row in rows] == grids[first].tolist()


def test_a_swapped_checkpoint_answers_at_once(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    checkpoint = tmp_path / "phase2.pt"
    answers = []
    other = save(tmp_path / "other.pt", phase2(5))
    for source in (glyphs.phase2, other, glyphs.phase2):
        checkpoint.write_bytes(source.read_bytes())
        output = tmp_path / "out.jsonl"
        options = glyphs.options(phase2_ckpt=checkpoint)
        assert run(*options, "--use-openvino", "--quiet", "--output_json", output)[0] == 0
        answers.append(read(output))
    assert_alike(answers[0], answers[2], 0)
    assert answers[0] != answers[1]


def test_int8_gives_nearly_the_same_labels(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    code, _, err = run(
        *glyphs.options(), "--use-openvino", "--openvino-precision", "int8", "--quiet", "--output_json", output
    )
    assert code == 0, err
    expected, _ = expected_answers(glyphs)
    assert sum(topk[0]["label"] == expected[file][0] for file, topk in read(output).items()) >= 20


def test_a_checkpoint_that_does_not_fit_is_refused(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    for openvino in ([], ["--use-openvino"]):
        code, _, err = run(*glyphs.options(), "--baseline_phase2", *openvino)
        assert code == 1
        assert "embedding.weight is [1024, 8], expected [1024, 64]" in err
    checkpoint = save(tmp_path / "p.pt", phase2(labels=9))
    code, _, err = run(*glyphs.options(phase2_ckpt=checkpoint))
    assert code == 1
    assert "classifier.4 has 9 labels" in err


def test_another_label_map_than_the_checkpoints_is_refused(glyphs: GlyphFolder, run: Run, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_bytes(orjson.dumps({label: n for n, label in enumerate(reversed(LABELS))}))
    for openvino in ([], ["--use-openvino"]):
        code, _, err = run(*glyphs.options(label_map=tmp_path / "map.json"), "--quiet", *openvino)
        assert code == 1
        assert "is not the label map that" in err


def test_a_device_that_is_not_there_is_an_error(glyphs: GlyphFolder, run: Run) -> None:
    code, _, err = run(*glyphs.options(), "--use-openvino", "--openvino-device", "GPU")
    assert code == 1
    assert "OpenVINO finds no device GPU" in err
    assert run(*glyphs.options(), "--use-openvino", "--openvino-device", "AUTO", "--quiet")[0] == 0


def test_torch_needs_no_openvino_and_a_warm_cache_no_torch(glyphs: GlyphFolder, run: Run) -> None:
    assert run(*glyphs.options(), "--use-openvino", "--quiet")[0] == 0
    for hidden, options, loaded in (
        (["openvino"], [], "torch"),
        (["torch", "onnx"], ["--use-openvino"], "openvino"),
    ):
        code = IMPORTS.format(hidden=hidden)
        command = [sys.executable, "-c", code, *glyphs.options(), "--quiet", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"loaded: {loaded}"
    code = IMPORTS.format(hidden=["openvino"])
    command = [sys.executable, "-c", code, *glyphs.options(), "--use-openvino"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 1
    assert "[error] the extra 'convert' is not installed (" in done.stderr
    assert "-m pip install --editable '.[convert]'" in done.stderr


def test_rasters_that_look_wrong_are_said_one_by_one_and_together(
    glyphs: GlyphFolder, run: Run, tmp_path: Path
) -> None:
    shape = np.zeros((128, 128), np.uint8)
    shape[:, 50:78] = shape[60:68] = 1
    for name, pixels in (
        ("1", shape),
        ("2", 255 * shape),
        ("3", 255 * (1 - shape)),
        ("4", 0 * shape),
        ("5", 0 * shape),
    ):
        write_png(tmp_path / f"66_latin_{name}.png", pixels)
    for options in ([], ["--plain"]):
        output = tmp_path / "out.jsonl"
        code, _, err = run(*glyphs.options(rasters_dir=tmp_path), "--output_json", output, *options)
        answers = read(output)
        assert code == 0
        assert answers["66_latin_1.png"] == answers["66_latin_2.png"] != answers["66_latin_4.png"]
        for number, looks in ((3, "inverted"), (4, "blank"), (5, "blank")):
            assert f"66_latin_{number}.png looks {looks}" in err
        assert "recognised, but it looks wrong: 1 inverted, 2 blank" in err
        assert "3 of 5 are blank or mostly ink: answers are right for white ink" in err
        assert "66_latin_1.png" not in err


def test_the_command_reads_with_the_bundled_model_and_without_torch(tmp_path: Path) -> None:
    code = "import sys; sys.modules.update(torch=None, tqdm=None, nncf=None); from vinocast.cli import main; main()"
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", code, "infer-chain", "--rasters_dir", str(ROOT / "examples" / "rasters")]
    command += ["--summary", "--quiet", "--output_json", str(output)]
    done = subprocess.run(
        command, cwd=tmp_path, env=uncapped(), capture_output=True, text=True, check=False, timeout=170
    )
    assert (done.returncode, done.stderr) == (0, "")
    right = int(re.findall(r"top1_matches=(\d+)", done.stdout)[0])
    assert right == sum(file.startswith(topk[0]["label"] + "_") for file, topk in read(output).items()) >= 44
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_the_command_has_the_options_of_the_script(glyphs: GlyphFolder) -> None:
    def lines(*command: str | Path) -> list[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
        return [*done.stdout.splitlines(), *done.stderr.splitlines()]

    help_pages = [lines(VINOCAST, "infer-chain", "--help"), lines(sys.executable, SCRIPT, "--help")]
    pages = [page[page.index("options:") :] for page in help_pages]
    assert pages[0] == pages[1]
    assert help_pages[0][0].startswith("usage: vinocast infer-chain ")
    assert lines(VINOCAST, "infer-chain", *glyphs.options(rasters_dir=Path("no/such"))) == [
        "[error] Missing required path: rasters_dir=no/such"
    ]
    some = lines(VINOCAST, "infer-chain", "--rasters_dir", glyphs.rasters, "--phase1_ckpt", glyphs.phase1)
    assert some[-1].endswith("required: --phase2_ckpt, --label_map, --chars_csv; or name no net, for the bundled one")


def test_output_that_cannot_take_every_line_is_no_traceback(glyphs: GlyphFolder, tmp_path: Path) -> None:
    (tmp_path / "rasters").mkdir()
    raster = (glyphs.rasters / glyphs.files[0]).read_bytes()
    (tmp_path / "rasters" / "66_latin_1.png").write_bytes(raster)
    (tmp_path / os.fsdecode(b"rasters/caf\xe9.png")).write_bytes(raster)
    options = glyphs.options(rasters_dir=tmp_path / "rasters")
    output = tmp_path / "out.jsonl"

    done = run_script(*options, "--output_json", output, env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0, done.stderr
    assert "(66_latin_1.png) \\u" in done.stdout
    assert "(caf\\xe9.png)" in done.stdout
    assert list(read(output)) == ["66_latin_1.png", "caf\\xe9.png"]

    def shell(redirections: str, *more: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *options, *map(str, more)]
        script = f'exec "$@" {redirections}'
        return subprocess.run(
            ["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False, timeout=170
        )

    done = shell(">&- <&-", "--output_json", output)
    assert done.returncode == 0, done.stderr
    assert len(read(output)) == 2
    done = shell(">/dev/full")
    assert (done.returncode, faults(done.stderr)) == (1, ["[error] [Errno 28] No space left on device"])
    done = shell("", "--output_json", "/dev/full")
    assert (done.returncode, faults(done.stderr)) == (1, ["[error] --output_json: No space left on device"])


def test_answers_are_kept_until_there_are_new_ones_and_refused_before_the_work(
    glyphs: GlyphFolder, run: Run, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    output.write_bytes(b"of an earlier run")
    code, _, _ = run(*glyphs.options(), "--output_json", output, "--baseline_phase2")
    assert (code, output.read_bytes()) == (1, b"of an earlier run")
    code, out, err = run(*glyphs.options(), "--output_json", tmp_path)
    assert (code, out) == (1, "")
    assert f"--output_json {tmp_path}: Is a directory" in err
    assert run(*glyphs.options(), "--output_json", output, "--quiet")[0] == 0
    assert len(read(output)) == 24
