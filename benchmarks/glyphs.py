"""The glyph chain end to end, files to JSON lines: the plain way in PyTorch against the others, measured in turns.

    python -m benchmarks.glyphs

Runs ``scripts/infer_chain.py`` itself, each time in a process of its own on the same cores, and takes its
``[TIMING]``. Without other files it makes its own: rasters of Pillow's font, slanted and stretched so that few cells
repeat by chance, and a net at 1,197 labels of random weights, which is as fast as a trained one. Exits with 1 when f32
is less than 2.5 times as fast as plain PyTorch or, on a processor with VNNI, int8 less than 4 times.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import click
import orjson
import torch
from PIL import Image, ImageDraw, ImageFont
from vinocast.engine.cpu import processor
from vinocast.export.glyphs.nets import VARIANTS, Phase1Net, Phase2Net

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "infer_chain.py"
LABELS = 1197
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
WAYS = {
    "torch, plain": ["--plain"],
    "torch": [],
    "openvino f32, plain": ["--plain", "--use-openvino"],
    "openvino f32": ["--use-openvino"],
    "openvino int8": ["--use-openvino", "--openvino-precision", "int8"],
}
BARS = {"openvino f32": 2.5, "openvino int8": 4.0}
STAGES = ("read", "wait", "cells", "phase1", "phase2", "top-k", "write")
FILES = ("rasters_dir", "phase1_ckpt", "phase2_ckpt", "label_map", "chars_csv")


@click.command(context_settings={"show_default": True})
@click.option("--count", type=click.IntRange(1), default=2000, help="Rasters a run.")
@click.option("--turns", type=click.IntRange(1), default=3, help="Runs of each way.")
@click.option("--cores", type=click.IntRange(1), default=2, help="Cores that the runs may use.")
@click.option("--variant", type=click.Choice(list(VARIANTS)), default="light", help="Of the net of random weights.")
@click.option("--files", type=click.Path(exists=True, path_type=Path), help=f"Folder with your own {', '.join(FILES)}.")
def main(count: int, turns: int, cores: int, variant: str, files: Path | None) -> None:
    """Time each way and print the table."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with tempfile.TemporaryDirectory() as temporary:
        folder = files or make_files(Path(temporary), count, variant)
        options = [word for name in FILES for word in (f"--{name}", str(folder / name))]
        options += ["--limit", str(count), "--openvino-cache-dir", f"{temporary}/cache", "--quiet", "--stages"]
        options += ["--output_json", f"{temporary}/answers.jsonl"]
        for way in WAYS.values():  # converts, and reads every file once
            run([*options, *way])
        runs: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(turns):
            for name, way in WAYS.items():
                runs[name].append(run([*options, *way]))
    print(
        f"{processor().name}, {cores} cores, {count} rasters, {variant}: milliseconds per glyph, median of {turns} runs"
    )
    print(f"{'':22}{'all':>8}{'least':>8}{'times':>7}   " + "".join(f"{stage:>8}" for stage in STAGES))
    medians = {name: median(run["all"] for run in found) for name, found in runs.items()}
    base = medians["torch, plain"]
    for name, found in runs.items():
        row = "".join(f"{median(run.get(stage, 0.0) for run in found):8.3f}" for stage in STAGES)
        least = min(run["all"] for run in found)
        print(f"{name:22}{medians[name]:8.3f}{least:8.3f}{base / medians[name]:7.1f}   {row}")
    print("read runs beside the inference where there is a wait; the wait is what of it was not hidden")
    bars = {name: bar for name, bar in BARS.items() if processor().vnni or "int8" not in name}
    slow = [name for name, bar in bars.items() if base / medians[name] < bar]
    if slow:
        raise click.ClickException(f"below its bar: {', '.join(slow)}")


def run(options: list[str]) -> dict[str, float]:
    """Run the script; return milliseconds per glyph, of all and of each stage."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=1800, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr)
    seconds, count = re.findall(r"\[TIMING\] Inference time: (.*)s for (\d+) glyphs", done.stdout)[0]
    stages = re.findall(r"(\S+)=(\S+)s", done.stdout.partition("[STAGES]")[2].partition("\n")[0])
    return {name: float(value) * 1e3 / int(count) for name, value in [("all", seconds), *stages]}


def make_files(folder: Path, count: int, variant: str) -> Path:
    """Write rasters, checkpoints and labels, named as the script's options."""
    labels = [f"{ord(character)}_latin" for character in CHARACTERS]
    labels = sorted(labels + [f"{0x4E00 + index}_symbol" for index in range(LABELS - len(labels))])
    (folder / "label_map").write_bytes(orjson.dumps({label: index for index, label in enumerate(labels)}))
    rows = ["codepoint,base_unicode,joining_group,char_class,label"]
    rows += [f"{label.split('_')[0]},{label.split('_')[0]},,{label.split('_')[1]},{label}" for label in labels]
    (folder / "chars_csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    torch.save({"model_state": Phase1Net().state_dict()}, folder / "phase1_ckpt")
    torch.save({"model_state": Phase2Net(VARIANTS[variant], LABELS).state_dict()}, folder / "phase2_ckpt")
    (folder / "rasters_dir").mkdir()
    rng = random.Random(0)
    for row in range(count):
        character = rng.choice(CHARACTERS)
        draw_raster(character, rng).save(folder / "rasters_dir" / f"{ord(character)}_latin_{row}.png")
    return folder


def draw_raster(character: str, rng: random.Random) -> Image.Image:
    """Draw a character, its largest side 128 pixels, white on black, at the top left."""
    large = Image.new("L", (1024, 1024))
    stroke = rng.randrange(0, 12)
    ImageDraw.Draw(large).text((200, 200), character, 255, font=ImageFont.load_default(500), stroke_width=stroke)
    slant, turn = rng.uniform(-0.3, 0.3), rng.uniform(-0.15, 0.15)
    matrix = (1, slant, -512 * slant, turn, 1, -512 * turn)
    large = large.transform(large.size, Image.Transform.AFFINE, matrix)
    ink = large.crop(large.getbbox())
    ink = ink.resize((max(1, round(ink.width * rng.uniform(0.7, 1.3))), ink.height))
    ink.thumbnail((128, 128), Image.Resampling.LANCZOS)
    raster = Image.new("L", (128, 128))
    raster.paste(ink.point(lambda shade: 255 * (shade > 127)))
    return raster


if __name__ == "__main__":
    main()
