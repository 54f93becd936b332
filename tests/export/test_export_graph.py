"""The rewritten graph against transformers, over every dimension of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray
from transformers import PatchTSTForPrediction
from vinocast.errors import SetupError
from vinocast.export.families.checkpoint import Weights
from vinocast.export.families.patchtst.architecture import Architecture
from vinocast.export.families.patchtst.graph import ACTIVATIONS, INPUT, OUTPUT, build_graph
from vinocast.export.families.patchtst.source import read_source

HEADS_READ: list[dict[str, Any]] = [
    {"use_cls_token": True, "pooling_type": None},
    {"use_cls_token": True, "pooling_type": "max"},
    {"pooling_type": "mean"},
    {"pooling_type": "max"},
    {"pooling_type": None},
]
NORMS = [{"norm_type": kind, "pre_norm": pre} for kind, pre in product(("batchnorm", "layernorm"), (True, False))]
CLS = HEADS_READ[0]
CONFIGURATIONS: list[dict[str, Any]] = [
    *({**norm, **head} for norm, head in product(NORMS, HEADS_READ)),
    *({**norm, **head, "num_hidden_layers": 1} for norm, head in product(NORMS, (CLS, HEADS_READ[2]))),
    *({**norm, **head, "channel_attention": True} for norm, head in product(NORMS, (CLS, HEADS_READ[2]))),
    *({**norm, **head, "share_embedding": False} for norm, head in product(NORMS, (CLS, HEADS_READ[4]))),
    *({"activation_function": name} for name in ACTIVATIONS),
    *({**CLS, "scaling": scaling} for scaling in ("mean", True, None, False)),
    *({"num_attention_heads": heads, **CLS} for heads in (1, 2, 8, 16)),
    *({"patch_stride": stride, **head} for stride, head in product((1, 3, 7, 11), (CLS, HEADS_READ[4]))),
    {"channel_attention": True, "share_embedding": False, "num_hidden_layers": 1, **CLS},
    {"channel_attention": True, "num_input_channels": 1},
    {"num_input_channels": 1, **CLS},
    {"num_input_channels": 5, "share_embedding": False, "patch_stride": 5},
    {"patch_length": 20, "patch_stride": 20, **CLS},  # longer than d_model: the embedding is not folded
    {"patch_length": 1, "patch_stride": 1},
    {"patch_length": 42, "patch_stride": 42},  # a single patch
    {"bias": False, **CLS},
    {"bias": False, "pre_norm": False},
    {"norm_eps": 0.3, "norm_type": "layernorm"},
    {"norm_eps": 0.3, **CLS},
    {"positional_encoding_type": "random", **CLS},
    {"minimum_scale": 0.5},
    {"minimum_scale": 2.5, "scaling": "mean"},
    {"default_scale": 3.0, "scaling": "mean"},
    {"scaling_dim": -2, **CLS},
    {"num_hidden_layers": 4, "d_model": 24, "num_attention_heads": 3, "ffn_dim": 7, "prediction_length": 1},
]


def rewritten(model: PatchTSTForPrediction) -> tuple[Architecture, ov.Model]:
    architecture = Architecture.model_validate(model.config.to_dict())
    weights: Weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    return architecture, build_graph(architecture, weights)


def forecast(model: PatchTSTForPrediction, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(windows)).prediction_outputs.numpy())


def infer_windows(graph: ov.Model, architecture: Architecture, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    if architecture.layout == "window":
        return np.asarray(compiled({INPUT: windows})[OUTPUT])
    batch, context, channels = windows.shape
    series = np.ascontiguousarray(windows.transpose(0, 2, 1)).reshape(-1, context)
    return np.asarray(compiled({INPUT: series})[OUTPUT]).reshape(batch, channels, -1).transpose(0, 2, 1)


def assert_equal_forecasts(
    actual: NDArray[np.float32], expected: NDArray[np.float32], windows: NDArray[np.float32]
) -> None:
    scale = np.maximum(windows.std(1, keepdims=True), np.abs(windows).mean(1, keepdims=True))
    assert np.abs(expected).max() > 0.05  # a forecast of zeros would equal another of zeros
    assert (np.abs(actual - expected) / scale).max() <= 1e-5


@pytest.mark.parametrize("overrides", CONFIGURATIONS, ids=lambda overrides: ",".join(map(str, overrides.values())))
def test_computes_what_transformers_computes(
    make_model: Callable[..., PatchTSTForPrediction], overrides: dict[str, Any]
) -> None:
    model = make_model(**overrides)
    architecture, graph = rewritten(model)
    random = np.random.default_rng(1)
    shape = (2, architecture.context_length, architecture.num_input_channels)
    windows = (3 * random.standard_normal(shape) + random.standard_normal((2, 1, shape[2]))).astype(np.float32)
    assert_equal_forecasts(infer_windows(graph, architecture, windows), forecast(model, windows), windows)


def test_layout_tells_whether_channels_can_stand_for_each_other(make_model: Callable[..., Any]) -> None:
    assert rewritten(make_model())[0].layout == "series"
    assert rewritten(make_model(share_embedding=False))[0].layout == "window"
    assert rewritten(make_model(channel_attention=True))[0].layout == "window"


@pytest.mark.parametrize("overrides", [CLS, {}, {"patch_stride": 5, "norm_type": "layernorm"}])
def test_any_number_of_series(make_model: Callable[..., Any], overrides: dict[str, Any]) -> None:
    model = make_model(num_input_channels=1, **overrides)
    architecture, graph = rewritten(model)
    assert str(graph.input(0).partial_shape) == "[?,43]"
    assert str(graph.output(0).partial_shape) == "[?,6]"
    windows = np.random.default_rng(2).standard_normal((7, 43, 1)).astype(np.float32)
    expected = forecast(model, windows)
    for count in (1, 2, 4, 7):
        assert_equal_forecasts(infer_windows(graph, architecture, windows[:count]), expected[:count], windows[:count])
        static = graph.clone()
        static.reshape([count, 43])
        assert static.output(0).shape == ov.Shape([count, 6])
        assert_equal_forecasts(infer_windows(static, architecture, windows[:count]), expected[:count], windows[:count])


def test_any_number_of_windows(make_model: Callable[..., Any]) -> None:
    model = make_model(channel_attention=True, share_embedding=False, **CLS)
    architecture, graph = rewritten(model)
    assert str(graph.input(0).partial_shape) == "[?,43,3]"
    windows = np.random.default_rng(2).standard_normal((4, 43, 3)).astype(np.float32)
    for count in (1, 4):
        static = graph.clone()
        static.reshape([count, 43, 3])
        actual = infer_windows(static, architecture, windows[:count])
        assert_equal_forecasts(actual, forecast(model, windows[:count]), windows[:count])


@pytest.mark.parametrize("steps", [1, 42, 44, 86])
def test_a_window_of_another_length_is_refused_by_the_ir(make_model: Callable[..., Any], steps: int) -> None:
    compiled = ov.Core().compile_model(rewritten(make_model())[1], "CPU")
    with pytest.raises(RuntimeError):
        compiled(np.zeros((1, steps), np.float32))


def test_a_nan_poisons_only_its_own_series(make_model: Callable[..., Any]) -> None:
    compiled = ov.Core().compile_model(rewritten(make_model())[1], "CPU")
    series = np.random.default_rng(3).standard_normal((3, 43)).astype(np.float32)
    series[1, 7] = np.nan
    finite = np.isfinite(compiled(series)[0]).all(1)
    assert finite.tolist() == [True, False, True]


def test_a_high_level_costs_no_digits_of_the_deviation(make_model: Callable[..., Any]) -> None:
    model = make_model()
    architecture, graph = rewritten(model)
    walk = np.random.default_rng(4).standard_normal((1, 43, 3)).cumsum(1)
    windows = (np.round(walk * 64) / 64 + 2.0**16).astype(np.float32)  # every value is exact in float32
    with torch.inference_mode():
        exact = model.double()(torch.from_numpy(windows.astype(np.float64))).prediction_outputs.numpy()
    error = np.abs(infer_windows(graph, architecture, windows) - exact).max()
    assert error <= np.spacing(np.float32(2.0**16))  # one rounding of the forecast itself


def test_the_last_layer_and_the_first_embedding_are_reduced(make_model: Callable[..., Any]) -> None:
    def rows(graph: ov.Model) -> list[tuple[int, int]]:
        weights = (node.input_value(1) for node in graph.get_ops() if node.get_type_name() == "MatMul")
        constants = (value.get_node() for value in weights if value.get_node().get_type_name() == "Constant")
        return [(int(constant.shape[0]), int(constant.shape[1])) for constant in constants]

    # embedding, alone and in Q, K, V; out; ffn; then the queries of four heads over d_model, values with out; ffn; head
    assert sorted(rows(rewritten(make_model(**CLS))[1])) == sorted(
        [(8, 16), (8, 48), (16, 16), (16, 24), (24, 16), (16, 64), (64, 16), (16, 24), (24, 16), (16, 6)]
    )
    # a layernorm stands between embedding and Q, K, V
    assert (8, 48) not in rows(rewritten(make_model(norm_type="layernorm", **CLS))[1])
    # a head that reads every token
    assert rows(rewritten(make_model(pooling_type="max"))[1]).count((16, 48)) == 1


@pytest.mark.parametrize("name", ["prelu", "xielu", "laplace", "no_such_function"])
def test_other_activations_are_refused_by_name(make_model: Callable[..., Any], name: str) -> None:
    model = make_model()
    weights: Weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    architecture = Architecture.model_validate(model.config.to_dict() | {"activation_function": name})
    with pytest.raises(SetupError, match=rf"activation_function '{name}' has no exact OpenVINO operation"):
        build_graph(architecture, weights)


@pytest.mark.shared_data
def test_granite(granite: Path) -> None:
    source = read_source(str(granite))
    graph = build_graph(source.architecture, source.weights())
    model = PatchTSTForPrediction.from_pretrained(granite, dtype=torch.float32).eval()
    windows = np.random.default_rng(5).standard_normal((2, 512, 7)).astype(np.float32)
    assert_equal_forecasts(infer_windows(graph, source.architecture, windows), forecast(model, windows), windows)
    static = graph.clone()
    static.reshape([7, 512])
    actual = infer_windows(static, source.architecture, windows[:1])
    assert_equal_forecasts(actual, forecast(model, windows[:1]), windows[:1])
