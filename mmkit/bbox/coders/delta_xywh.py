"""Shift of the centre in units of the prior, and log ratio of the sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.boxes import clip_bboxes
from mmkit.errors import InvalidValueError
from mmkit.registry import BBOX_CODERS

RATIO_CLIP = 16 / 1000
"""Limit of the ratio of sides, both ways, so that the exponential stays in range."""


@BBOX_CODERS.register_module()
class DeltaXYWHBBoxCoder:
    """Regression targets of R-CNN (arXiv:1311.2524).

    Args:
        target_means: (4,) subtracted from the targets.
        target_stds: (4,) by which the targets are divided.
        clip_border: clip decoded boxes to the image, where `decode` knows its shape.
        add_ctr_clamp: limit the shift of the centre to `ctr_clamp` pixels, and ratios only upwards (arXiv:2103.09460).
        ctr_clamp: see `add_ctr_clamp`.
    """

    pixel = 0  # a box from pixel a to pixel b is b - a + this wide

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: float = 32,
    ) -> None:
        self.means = _four(target_means, 'target_means')
        self.stds = _four(target_stds, 'target_stds')
        self.clip_border = clip_border
        self.add_ctr_clamp = add_ctr_clamp
        self.ctr_clamp = ctr_clamp

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(..., 4) targets that lead from `bboxes` (..., 4) to `gt_bboxes` (..., 4)."""
        center, size = self._center_size(bboxes.float())
        gt_center, gt_size = self._center_size(gt_bboxes.float())
        deltas = torch.cat([(gt_center - center) / size, (gt_size / size).log()], dim=-1)
        return (deltas - deltas.new_tensor(self.means)) / deltas.new_tensor(self.stds)

    def decode(
        self,
        bboxes: Tensor,
        deltas: Tensor,
        max_shape: Sequence[int] | None = None,
        wh_ratio_clip: float = RATIO_CLIP,
    ) -> Tensor:
        """Boxes from predictions.

        Args:
            bboxes: (..., 4) priors.
            deltas: (..., C * 4), C predictions for each prior.
            max_shape: (height, width) of the image.
            wh_ratio_clip: limit of the ratio of sides.

        Returns:
            (..., C * 4) boxes.
        """
        shape = deltas.shape
        deltas = deltas.reshape(*shape[:-1], shape[-1] // 4, 4)  # (..., C, 4)
        deltas = deltas * deltas.new_tensor(self.stds) + deltas.new_tensor(self.means)
        center, size = (part.unsqueeze(-2) for part in self._center_size(bboxes))  # (..., 1, 2)
        shift = size * deltas[..., :2]
        limit = abs(math.log(wh_ratio_clip))
        if self.add_ctr_clamp:
            shift = shift.clamp(-self.ctr_clamp, self.ctr_clamp)
            log_ratio = deltas[..., 2:].clamp(max=limit)
        else:
            log_ratio = deltas[..., 2:].clamp(-limit, limit)
        new_center, half = center + shift, size * log_ratio.exp() * 0.5
        decoded = torch.cat([new_center - half, new_center + half], dim=-1)
        if self.clip_border and max_shape is not None:
            decoded = clip_bboxes(decoded, [side - self.pixel for side in max_shape])
        return decoded.reshape(shape)

    def _center_size(self, bboxes: Tensor) -> tuple[Tensor, Tensor]:
        top_left, bottom_right = bboxes[..., :2], bboxes[..., 2:4]
        return (top_left + bottom_right) * 0.5, bottom_right - top_left + self.pixel


@BBOX_CODERS.register_module()
class LegacyDeltaXYWHBBoxCoder(DeltaXYWHBBoxCoder):
    """Targets as before mmdetection 2.0: a box from pixel a to pixel b is b - a + 1 wide.

    Decoding does not take the pixel off again, as in mmdetection 2: a box comes back half a pixel larger on each side.
    Boxes are always clipped, to the last pixel.

    Args:
        target_means: (4,) subtracted from the targets.
        target_stds: (4,) by which the targets are divided.
    """

    pixel = 1

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        super().__init__(target_means, target_stds)


def _four(values: Sequence[float], name: str) -> tuple[float, ...]:
    if len(values) != 4:
        raise InvalidValueError(f'{name} must have 4 values, got {values}', key=name)
    return tuple(values)
