"""What learns in a training run: a net, its averaged weights, the best of these so far, and the optimizer's moments."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

MAXIMUM_GRADIENT_NORM = 1.0
# Prefixes of a checkpoint's tensors.
WEIGHTS, AVERAGE, BEST, FIRST_MOMENT, SECOND_MOMENT = "weights.", "average.", "best.", "moment1.", "moment2."

Net = TypeVar("Net", bound=nn.Module)


class Learner(Generic[Net]):
    """A net that AdamW trains and whose weights are averaged exponentially.

    ``weight_decay`` acts on matrices, save those that ``undecayed`` names. ``ema`` is the decay of the average.
    """

    def __init__(self, net: Net, weight_decay: float, ema: float, undecayed: Collection[str] = ()) -> None:
        self.net = net.train()
        self.averaged = copy.deepcopy(net).eval()
        self.keep()
        self._ema = ema
        self._parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
        decayed = {name for name, p in self._parameters.items() if p.dim() > 1 and name not in undecayed}
        self._optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for name, p in self._parameters.items() if name in decayed],
                    "weight_decay": weight_decay,
                },
                {"params": [p for name, p in self._parameters.items() if name not in decayed], "weight_decay": 0.0},
            ]
        )

    def descend(self, loss: Tensor, step: int, rate: float, momentum: float = 0.9) -> None:
        """Take step ``step``, counted from 0, down a loss at a learning rate, and average the weights."""
        for group in self._optimizer.param_groups:
            group["lr"], group["betas"] = rate, (momentum, 0.999)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), MAXIMUM_GRADIENT_NORM)
        self._optimizer.step()
        # The first steps count for less than the decay says, or the first weights would stay for hundreds of steps.
        self._average(min(self._ema, (2 + step) / (11 + step)))

    def keep(self) -> None:
        """Keep the averaged weights as the best."""
        self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it after a step, named for a checkpoint."""
        parts = {
            WEIGHTS: self.net.state_dict(),
            AVERAGE: self.averaged.state_dict(),
            BEST: self.best,
            FIRST_MOMENT: {n: self._optimizer.state[p]["exp_avg"] for n, p in self._parameters.items()},
            SECOND_MOMENT: {n: self._optimizer.state[p]["exp_avg_sq"] for n, p in self._parameters.items()},
        }
        return {prefix + name: tensor.contiguous() for prefix, part in parts.items() for name, tensor in part.items()}

    def restore_tensors(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Go on from :meth:`tensors` of a learner of the same net after so many steps."""
        self.net.load_state_dict(_part(tensors, WEIGHTS))
        self.averaged.load_state_dict(_part(tensors, AVERAGE))
        self.best = _part(tensors, BEST)
        first, second = _part(tensors, FIRST_MOMENT), _part(tensors, SECOND_MOMENT)
        for name, parameter in self._parameters.items():
            # In the layout of the parameter in memory, which a checkpoint does not keep.
            moments = [torch.empty_like(parameter).copy_(part[name]) for part in (first, second)]
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(steps)),
                "exp_avg": moments[0],
                "exp_avg_sq": moments[1],
            }

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for average, value in zip(self.averaged.state_dict().values(), self.net.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
