"""Coders without statistics: YOLO's, distances to the four sides, none at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.boxes import bbox2distance, clip_bboxes, cxcywh_to_xyxy, distance2bbox, xyxy_to_cxcywh
from mmkit.errors import InvalidValueError
from mmkit.registry import BBOX_CODERS


@BBOX_CODERS.register_module()
class YOLOBBoxCoder:
    """Centre within its cell as 0 .. 1, and log ratio of the sides (arXiv:1804.02767).

    Args:
        eps: centres are kept this far from 0 and 1, sides this far from 0.
    """

    def __init__(self, eps: float = 1e-6) -> None:
        self.eps = eps

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor, stride: float | Tensor) -> Tensor:
        """(N, 4) targets from anchors (N, 4) to boxes (N, 4); `stride` of the cells: a number or (N,)."""
        priors, gts = xyxy_to_cxcywh(bboxes), xyxy_to_cxcywh(gt_bboxes)
        center = (gts[..., :2] - priors[..., :2]) / _column(stride) + 0.5
        log_ratio = (gts[..., 2:] / priors[..., 2:]).clamp(min=self.eps).log()
        return torch.cat([center.clamp(self.eps, 1 - self.eps), log_ratio], dim=-1)

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, stride: float | Tensor) -> Tensor:
        """(..., 4) boxes from anchors (..., 4) and predictions (..., 4) whose centre is already within 0 .. 1."""
        priors = xyxy_to_cxcywh(bboxes)
        center = priors[..., :2] + (pred_bboxes[..., :2] - 0.5) * _column(stride)
        return cxcywh_to_xyxy(torch.cat([center, priors[..., 2:] * pred_bboxes[..., 2:].exp()], dim=-1))


@BBOX_CODERS.register_module()
class TBLRBBoxCoder:
    """Distances from the centre of the prior to top, bottom, left and right, in sides of the prior.

    As FSAF (arXiv:1903.00621) regresses.

    Args:
        normalizer: a number, or 4 of them (top, bottom, left, right), by which the distances are divided.
        clip_border: clip decoded boxes to the image, where `decode` knows its shape.
    """

    def __init__(self, normalizer: float | Sequence[float] = 4.0, clip_border: bool = True) -> None:
        if isinstance(normalizer, Sequence) and len(normalizer) != 4:
            raise InvalidValueError(f'normalizer must be a number or 4 numbers, got {normalizer}', key='normalizer')
        self.normalizer = normalizer
        self.clip_border = clip_border

    def _unit(self, priors: Tensor) -> Tensor:
        """(..., 4) pixels that a prediction of 1 stands for."""
        width, height = priors[..., 2:3], priors[..., 3:4]
        return torch.cat([height, height, width, width], dim=-1) * priors.new_tensor(self.normalizer)

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(N, 4) top, bottom, left, right from priors (N, 4) to boxes (N, 4)."""
        priors = xyxy_to_cxcywh(bboxes)
        left, top, right, bottom = bbox2distance(priors[..., :2], gt_bboxes).unbind(-1)
        return torch.stack([top, bottom, left, right], dim=-1) / self._unit(priors)

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        """(..., 4) boxes from priors (..., 4) and predictions (..., 4); `max_shape` is (height, width)."""
        priors = xyxy_to_cxcywh(bboxes)
        top, bottom, left, right = (pred_bboxes * self._unit(priors)).unbind(-1)
        distance = torch.stack([left, top, right, bottom], dim=-1)
        return distance2bbox(priors[..., :2], distance, max_shape if self.clip_border else None)


@BBOX_CODERS.register_module()
class DistancePointBBoxCoder:
    """Distances in pixels from a point to left, top, right and bottom (arXiv:1904.01355).

    Args:
        clip_border: clip decoded boxes to the image, where `decode` knows its shape.
    """

    def __init__(self, clip_border: bool = True) -> None:
        self.clip_border = clip_border

    def encode(self, points: Tensor, gt_bboxes: Tensor, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
        """(N, 4) distances from points (N, 2) to boxes (N, 4), limited to 0 .. max_dis - eps if given."""
        return bbox2distance(points, gt_bboxes, max_dis, eps)

    def decode(self, points: Tensor, pred_bboxes: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        """(..., 4) boxes from points (..., 2) and distances (..., 4); `max_shape` is (height, width)."""
        return distance2bbox(points, pred_bboxes, max_shape if self.clip_border else None)


@BBOX_CODERS.register_module()
class PseudoBBoxCoder:
    """The box itself is the target."""

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        return gt_bboxes

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        return pred_bboxes if max_shape is None else clip_bboxes(pred_bboxes, max_shape)


def _column(stride: float | Tensor) -> float | Tensor:
    return stride.unsqueeze(-1) if isinstance(stride, Tensor) and stride.ndim else stride
