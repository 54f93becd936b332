"""The two nets of the glyph chain; the names of their states are those of the checkpoints that users have.

Phase 1 gives an 8x8 cell a primitive id, Phase 2 a 16x16 grid of ids a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vinocast.glyphs.cells import PRIMITIVES


class Phase1Net(nn.Module):
    """Cells float32 [n, 1, 8, 8] in [0, 1] to the logits of primitives, [n, 1024]; class 0 is the empty cell."""

    def __init__(self, primitives: int = PRIMITIVES) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, primitives)
        )

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Return the logits of the primitives."""
        logits: torch.Tensor = self.classifier(self.features(cells))
        return logits


@dataclass(frozen=True)
class Phase2Architecture:
    """What tells one Phase 2 from another; the number of labels aside.

    Attributes:
        embedding: width of the embedding of a primitive.
        stages: channels of each stage; from the second on, a stage begins by halving the grid.
        blocks: residual blocks of each stage.
        hidden: width of the classifier's hidden layer.
        dropout: after each convolution, whole channels.
        classifier_dropout: before the last layer.
        primitives: ids that a grid may hold.
        bn_eps: what every batch norm adds to a variance.
    """

    embedding: int
    stages: tuple[int, ...]
    blocks: tuple[int, ...]
    hidden: int
    dropout: float
    classifier_dropout: float
    primitives: int = PRIMITIVES
    bn_eps: float = 1e-5


VARIANTS = {
    "full": Phase2Architecture(96, (96, 192, 256), (3, 3, 3), 256, 0.15, 0.30),
    "light": Phase2Architecture(64, (64, 128, 192), (2, 2, 2), 256, 0.10, 0.25),
    "tiny": Phase2Architecture(48, (48, 96, 128), (2, 2, 2), 128, 0.08, 0.20),
}


class ConvBNAct(nn.Module):
    """A 3x3 convolution without bias, batch normalization, exact GELU and dropout of whole channels."""

    def __init__(self, inputs: int, outputs: int, dropout: float, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.GELU()
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        y: torch.Tensor = self.dropout(self.act(self.bn(self.conv(x))))
        return y


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity; nothing after the sum."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(channels, channels, dropout)
        self.conv2 = ConvBNAct(channels, channels, dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape of [n, channels, h, w]."""
        y: torch.Tensor = x + self.conv2(self.conv1(x))
        return y


class Phase2Net(nn.Module):
    """Grids of primitive ids int64 [n, 16, 16] to the logits of labels, [n, labels]."""

    def __init__(self, architecture: Phase2Architecture, labels: int) -> None:
        super().__init__()
        stages, dropout = architecture.stages, architecture.dropout
        self.architecture = architecture
        self.embedding = nn.Embedding(architecture.primitives, architecture.embedding)
        self.stem = ConvBNAct(architecture.embedding, stages[0], dropout)
        blocks: list[nn.Module] = []
        for stage, (channels, count) in enumerate(zip(stages, architecture.blocks, strict=True)):
            if stage:
                blocks.append(ConvBNAct(stages[stage - 1], channels, dropout, stride=2))
            blocks.extend(ResidualBlock(channels, dropout) for _ in range(count))
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            nn.LayerNorm(stages[-1]),
            nn.Linear(stages[-1], architecture.hidden),
            nn.GELU(),
            nn.Dropout(architecture.classifier_dropout),
            nn.Linear(architecture.hidden, labels),
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = architecture.bn_eps

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        """Return the logits of the labels."""
        planes = self.embedding(grids).permute(0, 3, 1, 2)
        logits: torch.Tensor = self.classifier(self.features(self.stem(planes)).mean(dim=(2, 3)))
        return logits
