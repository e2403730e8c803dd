"""Convolutions whose weights are predicted, one set for each object (CondInst, arXiv:2003.05664)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor


@dataclass
class MaskKernels:
    """Predicted parameters of the mask convolutions of K objects in one image.

    Attributes:
        params: (K, P).
        points: (K, 4) x, y, stride_w, stride_h of the points that predicted them, in pixels.
        gt_inds: (K,) the object that each is to segment, in training.
        quality: (K,) how sure the head is of an object there, in training.
    """

    params: Tensor
    points: Tensor
    gt_inds: Tensor | None = None
    quality: Tensor | None = None

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, index: Tensor) -> MaskKernels:
        gt_inds = None if self.gt_inds is None else self.gt_inds[index]
        quality = None if self.quality is None else self.quality[index]
        return replace(self, params=self.params[index], points=self.points[index], gt_inds=gt_inds, quality=quality)


def num_dynamic_params(widths: Sequence[int]) -> int:
    """Numbers that an object needs for `dynamic_convs` with the same `widths`."""
    return sum(inputs * outputs + outputs for inputs, outputs in pairwise(widths))


def dynamic_convs(feats: Tensor, params: Tensor, widths: Sequence[int]) -> Tensor:
    """1x1 convolutions with ReLUs between them, on the features of each object with its own weights.

    Args:
        feats: (N, widths[0], h, w) of N objects.
        params: (N, `num_dynamic_params(widths)`) the weights of all layers, then their biases.
        widths: channels of the input and of the output of each layer.

    Returns:
        (N, widths[-1], h, w).
    """
    layers = list(pairwise(widths))
    sizes = [*[inputs * outputs for inputs, outputs in layers], *widths[1:]]
    parts = params.split(sizes, dim=1)
    hidden = feats.flatten(2)  # (N, C, h * w)
    for number, (inputs, outputs) in enumerate(layers):
        weight = parts[number].reshape(-1, outputs, inputs)
        bias = parts[len(layers) + number][..., None]  # (N, outputs, 1)
        hidden = torch.baddbmm(bias, weight, hidden if number == 0 else hidden.relu())
    return hidden.reshape(len(feats), widths[-1], *feats.shape[-2:])
