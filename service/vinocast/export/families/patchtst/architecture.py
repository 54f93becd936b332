"""What a PatchTST's ``config.json`` says: its architecture, the shapes of its weights, its scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vinocast.errors import SetupError
from vinocast.export.files import CONFIG_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Architecture(BaseModel):
    """The fields of ``config.json`` that decide a point forecast; defaults are those of transformers' PatchTSTConfig.

    Fields that only training reads (dropout, masking, initial values) are left out. A field that is unknown here cannot
    change a result unnoticed, because each conversion is compared with transformers' own (``vinocast.export.parity``).
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    model_type: Literal["patchtst"]
    num_input_channels: int = Field(default=1, gt=0)
    context_length: int = Field(default=32, gt=0)
    prediction_length: int = Field(default=24, gt=0)
    patch_length: int = Field(default=1, gt=0)
    patch_stride: int = Field(default=1, gt=0)
    num_hidden_layers: int = Field(default=3, gt=0)
    d_model: int = Field(default=128, gt=0)
    num_attention_heads: int = Field(default=4, gt=0)
    ffn_dim: int = Field(default=512, gt=0)
    bias: bool = True
    activation_function: str = "gelu"
    norm_type: Literal["batchnorm", "layernorm"] = "batchnorm"
    norm_eps: float = Field(default=1e-5, ge=0)
    pre_norm: bool = True
    use_cls_token: bool = False
    pooling_type: Literal["mean", "max"] | None = "mean"
    channel_attention: bool = False
    share_embedding: bool = True
    share_projection: bool = True
    loss: str | None = "mse"
    scaling: Literal["mean", "std"] | bool | None = "std"
    # PatchTSTConfig declares none of these three; the scalers read them where a config.json has them.
    minimum_scale: float | None = Field(default=None, gt=0)
    scaling_dim: Literal[1, -2] = 1
    keepdim: Literal[True] = True

    @property
    def scaler(self) -> Literal["mean", "std"] | None:
        """The scaler in force: ``True`` stands for ``mean``, ``False`` for none."""
        if isinstance(self.scaling, bool):
            return "mean" if self.scaling else None
        return self.scaling

    @property
    def scale_floor(self) -> float:
        """Added to the variance (std), or the least scale (mean)."""
        default = 1e-5 if self.scaler == "std" else 1e-10
        return default if self.minimum_scale is None else self.minimum_scale

    @property
    def patches(self) -> int:
        """Patches a series is cut into."""
        return (self.context_length - self.patch_length) // self.patch_stride + 1

    @property
    def first_step(self) -> int:
        """The oldest time step that lies in a patch; older ones feed only the scaler."""
        return self.context_length - self.patch_length - self.patch_stride * (self.patches - 1)

    @property
    def tokens(self) -> int:
        """Tokens of the encoder: the patches, and the CLS token before them where the model has one."""
        return self.patches + self.use_cls_token

    @property
    def layout(self) -> Literal["series", "window"]:
        """``series`` where one net maps every channel by itself, else ``window``."""
        return "series" if self.share_embedding and not self.channel_attention else "window"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight the model must have, as in transformers' ``state_dict``."""
        d, norms = self.d_model, [1, 2, 3] if self.channel_attention else [1, 3]
        embedder = "model.encoder.embedder.input_embedding."
        embeddings = [embedder] if self.share_embedding else [f"{embedder}{c}." for c in range(self.num_input_channels)]
        linear = dict.fromkeys(embeddings, (d, self.patch_length))
        vectors: dict[str, tuple[int, ...]] = {"model.encoder.positional_encoder.position_enc": (self.tokens, d)}
        if self.use_cls_token:
            vectors["model.encoder.positional_encoder.cls_token"] = (1, 1, 1, d)
        for layer in (f"model.encoder.layers.{i}." for i in range(self.num_hidden_layers)):
            linear |= {f"{layer}self_attn.{name}_proj.": (d, d) for name in ("q", "k", "v", "out")}
            linear |= {f"{layer}ff.0.": (self.ffn_dim, d), f"{layer}ff.3.": (d, self.ffn_dim)}
            for norm in (f"{layer}norm_sublayer{number}." for number in norms):
                if self.norm_type == "layernorm":
                    vectors |= {norm + name: (d,) for name in ("weight", "bias")}
                else:
                    names = ("weight", "bias", "running_mean", "running_var")
                    vectors |= {f"{norm}batchnorm.{name}": (d,) for name in names}
        pooled = self.use_cls_token or self.pooling_type
        linear["head.projection."] = (self.prediction_length, d if pooled else d * self.patches)
        weights = {f"{name}weight": shape for name, shape in linear.items()}
        biases = {f"{name}bias": shape[:1] for name, shape in linear.items() if self.bias or ".ff." not in name}
        return vectors | weights | biases


def parse_architecture(config: dict[str, Any], origin: str) -> Architecture:
    """Read the fields of ``config.json``; raises SetupError that names the one which cannot be converted, and why."""
    try:
        architecture = Architecture.model_validate(config)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'][:1]))}: {fault['msg']}" for fault in error.errors())
        raise SetupError(f"{origin}: {CONFIG_FILE} cannot be converted: {faults}") from error
    if architecture.loss != "mse":
        reason = (
            f"loss {architecture.loss!r} makes the head predict a distribution; only point forecasts ('mse') are served"
        )
    elif not architecture.share_projection:
        reason = "share_projection false cannot be run by transformers itself, so there is nothing to compare with"
    elif architecture.d_model % architecture.num_attention_heads:
        reason = (
            f"d_model {architecture.d_model} is no multiple of num_attention_heads {architecture.num_attention_heads}"
        )
    elif architecture.context_length <= architecture.patch_length:
        reason = f"context_length {architecture.context_length} must exceed patch_length {architecture.patch_length}"
    else:
        return architecture
    raise SetupError(f"{origin}: {CONFIG_FILE} cannot be converted: {reason}")


def scale_of(architecture: Architecture, series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [n, 1], what one unit of the network's output is worth for each series [n, context].

    That is the model's own scale: sqrt(variance + floor), of a constant series the floor alone; the mean of the
    absolute values; or, of a model without a scaler, the largest absolute value, at least 1.
    """
    if architecture.scaler == "std":
        scale = np.sqrt(series.var(1, keepdims=True) + architecture.scale_floor)
    elif architecture.scaler == "mean":
        scale = np.maximum(np.abs(series).mean(1, keepdims=True), architecture.scale_floor)
    else:
        scale = np.maximum(np.abs(series).max(1, keepdims=True), 1.0)
    return np.asarray(scale)
