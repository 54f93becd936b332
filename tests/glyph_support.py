"""Small glyph nets of random weights, and rasters for them, as their users have them on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from PIL import Image
from vinocast.export.glyphs.nets import Phase1Net, Phase2Architecture, Phase2Net

SMALL = Phase2Architecture(8, (8, 12), (1, 2), 16, 0.1, 0.2)
# Codepoints of different classes; the ninth label has no raster, the rasters of the last label no class.
LABELS = sorted(
    ["66_latin", "67_latin", "48_latin_digit", "1632_digit", "65258_final", "65275_liga", "65175_init", "33_symbol"]
)
STRANGER = "90_latin"


def randomise(net: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fill weights and the statistics of batch norms, so that answers are far apart."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            state[name] = 0.5 + noise.abs()
        elif value.ndim == 1:
            state[name] = noise * 0.2 + (name.endswith("weight") and 1)
        else:
            state[name] = noise * (2 / value[0].numel()) ** 0.5
    last = "classifier.4.weight"
    state[last] = state[last] * 6
    net.load_state_dict(state, strict=False)
    return net.eval()


def phase1(seed: int = 1) -> Phase1Net:
    net = randomise(Phase1Net(), seed)
    assert isinstance(net, Phase1Net)
    return net


def phase2(seed: int = 2, architecture: Phase2Architecture = SMALL, labels: int = len(LABELS)) -> Phase2Net:
    net = randomise(Phase2Net(architecture, labels), seed)
    assert isinstance(net, Phase2Net)
    return net


def save(path: Path, net: torch.nn.Module, prefix: str = "", **beside: Any) -> Path:
    """Write a checkpoint as the original training code does."""
    state = {prefix + name: value for name, value in net.state_dict().items()}
    torch.save({"epoch": 3, "model_state": state, "optimizer_state": {}, "metrics": {}, **beside}, path)
    return path


def logits(net: torch.nn.Module, rows: NDArray[Any]) -> NDArray[np.float32]:
    """What the net itself answers."""
    with torch.inference_mode():
        return np.asarray(net(torch.from_numpy(rows)).numpy())


def random_grids(count: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 1024, (count, 16, 16))


def random_raster(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Ellipses on black, which fill a part of the raster."""
    y, x = np.mgrid[:128, :128]
    ink = np.zeros((128, 128), bool)
    for _ in range(4):
        cy, cx, ry, rx = rng.uniform((0, 0, 4, 4), (100, 100, 40, 40))
        distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
        ink |= (distance < 1) & (distance > 0.4)
    return np.where(ink, 255, 0).astype(np.uint8)


def write_png(path: Path, raster: NDArray[np.uint8]) -> None:
    Image.fromarray(raster).save(path)


class GlyphFolder:
    """Checkpoints, label map, characters and rasters below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rasters = folder / "rasters"
        self.rasters.mkdir()
        self.phase1 = save(folder / "phase1.pt", phase1(), "module.")
        self.phase2 = save(folder / "phase2.pt", phase2(), "_orig_mod.model.", label_map=self.label_map)
        (folder / "label_map.json").write_bytes(orjson.dumps(self.label_map))
        parts = [(label.split("_")[0], label.partition("_")[2], label) for label in LABELS]
        rows = [f'{code},{chr(int(code))},"HEH, GOAL",{kind},{label}' for code, kind, label in parts]
        lines = ["codepoint,base_unicode,joining_group,char_class,label", *rows]
        (folder / "chars.csv").write_text("\n".join(lines) + "\n")
        rng = np.random.default_rng(11)
        self.files = []
        for row in range(24):
            self.files.append(f"{LABELS[row % len(LABELS)]}_{row}.png")
            write_png(self.rasters / self.files[-1], random_raster(rng))

    @property
    def label_map(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(LABELS)}

    def options(self, **changes: Path) -> list[str]:
        """The required options of ``infer_chain.py``, and where it may write."""
        paths = {
            "rasters_dir": self.rasters,
            "phase1_ckpt": self.phase1,
            "phase2_ckpt": self.phase2,
            "label_map": self.folder / "label_map.json",
            "chars_csv": self.folder / "chars.csv",
            "openvino-cache-dir": self.folder / "cache",
        } | changes
        return [word for name, path in paths.items() for word in (f"--{name}", str(path))]
