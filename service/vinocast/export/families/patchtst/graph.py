"""PatchTST as an OpenVINO graph that computes what transformers computes with less arithmetic.

Built from the weights themselves. What is folded together is folded in float64 and stored in float32, and every step is
an identity of algebra, none an approximation:

1. Series are the batch: [n, context] to [n, horizon]. (Layout ``window`` keeps [b, context, channels] outside.)
2. The affine part of a norm is folded into the linear maps beside it; of an eval batchnorm nothing else remains.
3. Q, K and V are one product, with 1/sqrt(head_dim) in Q. In the first layer the patch embedding is folded into it:
   a product with patch_length rows in place of d_model.
4. A head that reads the CLS token needs, of the last layer, nothing but that token. Its keys and values are then never
   formed: a score is x . (W_k q), a head's context W_v (sum w x), since the weights of a softmax add up to 1 and a
   constant added to every score (the bias of K) changes none of them.
5. A head that reads the mean of the tokens lets the mean be taken before the last linear map.

6. The constants of the exact GELU are in the linear maps around it.

Attention is written as MatMul, Softmax, MatMul, which the CPU plugin fuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from vinocast.errors import SetupError
from vinocast.export.algebra import (
    GELU_SCALE,
    Affine,
    Linear,
    attend,
    beside,
    first,
    floats,
    gelu,
    heads,
    ints,
    mean,
    reshape,
    standardise,
    swap,
    transpose,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from openvino import Node

    from vinocast.export.families.checkpoint import Weights
    from vinocast.export.families.patchtst.architecture import Architecture

INPUT = "past_values"
OUTPUT = "prediction_outputs"


def _gelu_tanh(x: Node) -> Node:
    return op.gelu(x, "tanh")


# transformers' names of the activations that OpenVINO has exactly; prelu and xielu carry weights of their own.
ACTIVATIONS: dict[str, Callable[[Node], Node]] = {
    "gelu": gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_accurate": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": lambda x: op.swish(x, floats(1.702)),
    "silu": op.swish,
    "swish": op.swish,
    "relu": op.relu,
    "relu2": lambda x: op.power(op.relu(x), floats(2)),
    "relu6": lambda x: op.clamp(x, 0.0, 6.0),
    "leaky_relu": lambda x: op.prelu(x, floats(0.01)),
    "mish": op.mish,
    "hardswish": op.hswish,
    "sigmoid": op.sigmoid,
    "tanh": op.tanh,
    "linear": lambda x: x,
}


def build_graph(architecture: Architecture, weights: Weights) -> ov.Model:
    """Return the graph, with input ``past_values`` and output ``prediction_outputs``, batch dynamic, in f32.

    Shapes are [n, context] to [n, horizon] in layout ``series``, [b, context, channels] to [b, horizon, channels] in
    layout ``window``. Raises SetupError for an activation function that OpenVINO does not have.
    """
    if architecture.activation_function not in ACTIVATIONS:
        raise SetupError(
            f"activation_function {architecture.activation_function!r} has no exact OpenVINO operation; "
            f"those that have: {', '.join(ACTIVATIONS)}"
        )
    return _Builder(architecture, weights).build()


class _Builder:
    def __init__(self, architecture: Architecture, weights: Weights) -> None:
        self.a = architecture
        self.w = weights
        self.head_dim = architecture.d_model // architecture.num_attention_heads
        self.reads_mean = architecture.pooling_type == "mean" and not architecture.use_cls_token

    def build(self) -> ov.Model:
        a = self.a
        windows = a.layout == "window"
        shape = [-1, a.context_length, a.num_input_channels] if windows else [-1, a.context_length]
        parameter = op.parameter(shape, np.float32, name=INPUT)
        series = reshape(transpose(parameter, 0, 2, 1), -1, a.context_length) if windows else parameter

        scaled, unscale = self.scaler(series)
        patches = self.patches(scaled)
        embedding = self.embedding()
        tokens = self.embed(patches, embedding)
        for index in range(a.num_hidden_layers):
            tokens = self.layer(index, tokens, patches, embedding)
        forecast = unscale(self.linear("head.projection.")(self.pool(tokens)))

        if windows:
            forecast = transpose(reshape(forecast, -1, a.num_input_channels, a.prediction_length), 0, 2, 1)
        result = op.result(forecast, name=OUTPUT)
        parameter.output(0).get_tensor().set_names({INPUT})
        result.output(0).get_tensor().set_names({OUTPUT})
        return ov.Model([result], [parameter], "patchtst")

    def linear(self, name: str) -> Linear:
        weight = self.w[f"{name}weight"].T
        return Linear(weight, self.w.get(f"{name}bias", np.zeros(weight.shape[-1])))

    def norm(self, name: str) -> Affine:
        """The affine part of a norm: of a batchnorm in eval that is all of it."""
        if self.a.norm_type == "layernorm":
            return Affine(self.w[f"{name}weight"], self.w[f"{name}bias"])
        gain = self.w[f"{name}batchnorm.weight"] / np.sqrt(self.w[f"{name}batchnorm.running_var"] + self.a.norm_eps)
        return Affine(gain, self.w[f"{name}batchnorm.bias"] - self.w[f"{name}batchnorm.running_mean"] * gain)

    def standardise(self, x: Node) -> Node:
        """The part of a norm that is not affine: a layernorm's mean and deviation over the features."""
        if self.a.norm_type == "batchnorm":
            return x
        return op.mvn(x, ints(-1), True, self.a.norm_eps, "INSIDE_SQRT")

    def scaler(self, series: Node) -> tuple[Node, Callable[[Node], Node]]:
        """Return the scaled series [n, context] and the map of a forecast back to the series' units."""
        if self.a.scaler is None:
            return series, lambda forecast: forecast
        if self.a.scaler == "mean":
            scale = op.maximum(mean(op.absolute(series)), floats(self.a.scale_floor))
            return op.divide(series, scale), lambda forecast: op.multiply(forecast, scale)
        return standardise(series, self.a.scale_floor)

    def patches(self, series: Node) -> Node:
        """Cut [n, context] into [n, tokens, patch_length]; the CLS token's row is zero, its value a bias."""
        a = self.a
        if a.patch_stride == a.patch_length:
            used = op.slice(series, ints(a.first_step), ints(a.context_length), ints(1), ints(1))
            patches = reshape(used, 0, a.patches, a.patch_length)
        else:
            starts = a.first_step + a.patch_stride * np.arange(a.patches)
            patches = op.gather(series, op.constant(starts[:, None] + np.arange(a.patch_length)), ints(1))
        if not a.use_cls_token:
            return patches
        return op.pad(patches, ints(0, 1, 0), ints(0, 0, 0), "constant", floats(0.0))

    def embedding(self) -> Linear:
        """The map of patches to tokens, positions included: its bias is [tokens, d_model], shared or by channel."""
        a, name = self.a, "model.encoder.embedder.input_embedding."
        position = self.w["model.encoder.positional_encoder.position_enc"]
        if a.share_embedding:
            shared = self.linear(name)
            weight, bias = shared.weight, shared.bias + position
        else:
            own = [self.linear(f"{name}{channel}.") for channel in range(a.num_input_channels)]
            weight, bias = np.stack([m.weight for m in own]), np.stack([m.bias + position for m in own])
        if a.use_cls_token:
            bias[..., 0, :] = self.w["model.encoder.positional_encoder.cls_token"][0, 0, 0] + position[0]
        return Linear(weight, bias)

    def embed(self, patches: Node, embedding: Linear) -> Node:
        if self.a.share_embedding:
            return embedding(patches)
        by_channel = reshape(patches, -1, self.a.num_input_channels, self.a.tokens, self.a.patch_length)
        return reshape(embedding(by_channel), -1, self.a.tokens, embedding.weight.shape[-1])

    def layer(self, index: int, tokens: Node, patches: Node, embedding: Linear) -> Node:
        """One encoder layer over [n, tokens, d_model]; of the last, [n, 1, d_model] where the head needs no more."""
        a, name = self.a, f"model.encoder.layers.{index}."
        last = index == a.num_hidden_layers - 1
        q, k, v, out = (self.linear(f"{name}self_attn.{which}_proj.") for which in ("q", "k", "v", "out"))
        q = q.scaled(self.head_dim**-0.5)

        norm = self.norm(f"{name}norm_sublayer1.")
        x, maps = self.prepare(tokens, norm, q, k, v)
        merged = out
        if last and a.use_cls_token:
            tokens = first(tokens)
            mixed, merged = self.attend_first(x, *maps, out=out)
        elif index == 0 and x is tokens and a.patch_length < a.d_model:
            mixed = self.attend(self.embed(patches, embedding.then(beside(*maps))))
        else:
            mixed = self.attend(beside(*maps)(x))
        tokens = self.residual(tokens, mixed, merged, norm)

        if a.channel_attention:
            count = 1 if last and a.use_cls_token else a.tokens
            norm = self.norm(f"{name}norm_sublayer2.")
            tokens = swap(tokens, a.num_input_channels, count)
            x, maps = self.prepare(tokens, norm, q, k, v)
            tokens = self.residual(tokens, self.attend(beside(*maps)(x)), out, norm)
            tokens = swap(tokens, count, a.num_input_channels)

        norm = self.norm(f"{name}norm_sublayer3.")
        widen, narrow = self.linear(f"{name}ff.0."), self.linear(f"{name}ff.3.")
        if a.activation_function == "gelu":
            widen, narrow = widen.scaled(GELU_SCALE), Linear(narrow.weight * GELU_SCALE, narrow.bias)
        x, (widen,) = self.prepare(tokens, norm, widen)
        wide = ACTIVATIONS[a.activation_function](widen(x))
        if last and self.reads_mean and (a.pre_norm or a.norm_type == "batchnorm"):
            tokens, wide = mean(tokens), mean(wide)
        return self.residual(tokens, wide, narrow, norm)

    def prepare(self, tokens: Node, norm: Affine, *maps: Linear) -> tuple[Node, list[Linear]]:
        """Return a sublayer's input and its first maps, the norm before them folded in where there is one."""
        if self.a.pre_norm:
            return self.standardise(tokens), [norm.then(linear) for linear in maps]
        return tokens, list(maps)

    def residual(self, tokens: Node, update: Node, linear: Linear, norm: Affine) -> Node:
        """Add a sublayer's result to its input, with the norm after it where there is one."""
        if self.a.pre_norm:
            return op.add(tokens, linear(update))
        if self.a.norm_type == "batchnorm":
            return op.add(op.multiply(tokens, floats(norm.gain)), norm.after(linear)(update))
        return norm(self.standardise(op.add(tokens, linear(update))))

    def attend(self, qkv: Node) -> Node:
        """Attention of every token to every token: [n, t, 3 * d_model] to the heads' contexts, [n, t, d_model]."""
        return attend(*heads(qkv, 3, self.a.num_attention_heads))

    def attend_first(self, x: Node, q: Linear, k: Linear, v: Linear, *, out: Linear) -> tuple[Node, Linear]:
        """Attention of the first token to every token of x; returns its context, [n, 1, …], and the output's map."""
        number, size, d = self.a.num_attention_heads, self.head_dim, self.a.d_model
        if number * (self.a.tokens + d) >= d * (self.a.tokens + 1):  # many heads: forming keys and values costs less
            (query,) = heads(q(first(x)), 1, number)
            return attend(query, *heads(beside(k, v)(x), 2, number)), out
        slices = [slice(head * size, (head + 1) * size) for head in range(number)]
        probe = beside(*(Linear(q.weight[:, s] @ k.weight[:, s].T, k.weight[:, s] @ q.bias[s]) for s in slices))
        scores = op.matmul(reshape(probe(first(x)), -1, number, d), x, False, True)
        context = op.matmul(op.softmax(scores, -1), x, False, False)
        weight = np.concatenate([v.weight[:, s] @ out.weight[s] for s in slices])
        merged = Linear(weight, v.bias @ out.weight + out.bias)
        return reshape(context, -1, 1, number * d), merged

    def pool(self, tokens: Node) -> Node:
        """What the head reads: [n, d_model], or every token flattened."""
        if self.reads_mean:
            return op.reduce_mean(tokens, ints(1), False)
        if self.a.pooling_type == "max" and not self.a.use_cls_token:
            return op.reduce_max(tokens, ints(1), False)
        return reshape(tokens, 0, -1)
