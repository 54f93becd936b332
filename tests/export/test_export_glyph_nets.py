"""The glyph nets are those of the checkpoints that users have."""

import pytest
import torch
from vinocast.export.glyphs.nets import VARIANTS, Phase1Net, Phase2Net


def parameters(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_phase_1_has_the_published_size() -> None:
    assert parameters(Phase1Net()) == 183_904


@pytest.mark.parametrize(("variant", "size"), [("full", 7_198_317), ("light", 2_822_957), ("tiny", 1_400_397)])
def test_phase_2_has_the_published_size(variant: str, size: int) -> None:
    assert parameters(Phase2Net(VARIANTS[variant], 1197)) == size


def test_the_states_have_the_published_names() -> None:
    names = set(Phase2Net(VARIANTS["light"], 7).state_dict())

    assert {"embedding.weight", "stem.conv.weight", "stem.bn.running_mean"} <= names
    assert {"features.0.conv1.conv.weight", "features.1.conv2.bn.bias", "features.2.conv.weight"} <= names
    assert {"classifier.0.weight", "classifier.1.bias", "classifier.4.weight"} <= names
    assert {"features.0.weight", "features.5.bias", "classifier.1.weight", "classifier.4.bias"} <= set(
        Phase1Net().state_dict()
    )
