"""Costs of pairing a prediction with a ground truth, for the Hungarian method (arXiv:2005.12872)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.bbox.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from mmkit.bbox.iou import OverlapMode, bbox_overlaps
from mmkit.errors import InvalidValueError
from mmkit.registry import MATCH_COSTS


@MATCH_COSTS.register_module()
class BBoxL1Cost:
    """Sum of absolute differences of the four coordinates.

    Args:
        weight: factor on the cost.
        box_format: 'xyxy' or 'xywh' (centre and size): in which boxes are compared.
    """

    def __init__(self, weight: float = 1.0, box_format: str = 'xyxy') -> None:
        if box_format not in ('xyxy', 'xywh'):
            raise InvalidValueError(f"box_format must be 'xyxy' or 'xywh', got {box_format!r}", key='box_format')
        self.weight = weight
        self.box_format = box_format

    def __call__(self, bbox_pred: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(Q, K) from predictions (Q, 4) cx, cy, w, h and ground truths (K, 4) xyxy, both within 0 .. 1."""
        if self.box_format == 'xywh':
            gt_bboxes = xyxy_to_cxcywh(gt_bboxes)
        else:
            bbox_pred = cxcywh_to_xyxy(bbox_pred)
        return torch.cdist(bbox_pred, gt_bboxes, p=1) * self.weight


@MATCH_COSTS.register_module()
class ClassificationCost:
    """Minus the softmax probability of the class.

    Args:
        weight: factor on the cost.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, cls_pred: Tensor, gt_labels: Tensor) -> Tensor:
        """(Q, K) from logits (Q, C + 1) and labels (K,)."""
        return -cls_pred.softmax(-1)[:, gt_labels] * self.weight


@MATCH_COSTS.register_module()
class FocalLossCost:
    """Focal loss of the class as positive, minus that as negative (arXiv:2010.04159).

    Args:
        weight: factor on the cost.
        alpha: weight of positives, 1 - alpha of negatives.
        gamma: the greater, the less easy examples count.
        eps: least probability under a logarithm.
        binary_input: whether predictions and ground truths are masks.
    """

    def __init__(
        self,
        weight: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2,
        eps: float = 1e-12,
        binary_input: bool = False,
    ) -> None:
        self.weight = weight
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps
        self.binary_input = binary_input

    def __call__(self, cls_pred: Tensor, gt_labels: Tensor) -> Tensor:
        """(Q, K) from logits (Q, C) and labels (K,); from masks, logits (Q, ...) and binary masks (K, ...)."""
        probs = (cls_pred.flatten(1) if self.binary_input else cls_pred).sigmoid()
        negative = -(1 - probs + self.eps).log() * (1 - self.alpha) * probs**self.gamma
        positive = -(probs + self.eps).log() * self.alpha * (1 - probs) ** self.gamma
        if not self.binary_input:
            return (positive[:, gt_labels] - negative[:, gt_labels]) * self.weight
        masks = gt_labels.flatten(1).to(probs)  # (K, pixels)
        return (positive @ masks.T + negative @ (1 - masks).T) / probs.shape[1] * self.weight


@MATCH_COSTS.register_module()
class IoUCost:
    """Minus the overlap.

    Args:
        iou_mode: 'iou', 'iof' or 'giou'.
        weight: factor on the cost.
    """

    def __init__(self, iou_mode: OverlapMode = 'giou', weight: float = 1.0) -> None:
        self.iou_mode: OverlapMode = iou_mode
        self.weight = weight

    def __call__(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(Q, K) from boxes (Q, 4) and (K, 4), xyxy in pixels."""
        return -bbox_overlaps(bboxes, gt_bboxes, mode=self.iou_mode) * self.weight


@MATCH_COSTS.register_module()
class DiceCost:
    """1 - Dice overlap of masks (arXiv:1606.04797).

    Args:
        weight: factor on the cost.
        pred_act: whether predictions are logits.
        eps: keeps the denominator away from 0.
        naive_dice: sums instead of sums of squares in the denominator.
    """

    def __init__(self, weight: float = 1.0, pred_act: bool = False, eps: float = 1e-3, naive_dice: bool = True) -> None:
        self.weight = weight
        self.pred_act = pred_act
        self.eps = eps
        self.naive_dice = naive_dice

    def __call__(self, mask_preds: Tensor, gt_masks: Tensor) -> Tensor:
        """(Q, K) from masks (Q, ...) and binary masks (K, ...)."""
        masks = (mask_preds.sigmoid() if self.pred_act else mask_preds).flatten(1)
        gts = gt_masks.flatten(1).to(masks)
        power = 1 if self.naive_dice else 2
        sizes = (masks**power).sum(1)[:, None] + (gts**power).sum(1)[None, :]
        return (1 - (2 * masks @ gts.T + self.eps) / (sizes + self.eps)) * self.weight


@MATCH_COSTS.register_module()
class CrossEntropyLossCost:
    """Binary cross entropy of masks, averaged over pixels.

    Args:
        weight: factor on the cost.
        use_sigmoid: only True is defined.
    """

    def __init__(self, weight: float = 1.0, use_sigmoid: bool = True) -> None:
        if not use_sigmoid:
            raise InvalidValueError(
                'CrossEntropyLossCost is defined on sigmoids: use_sigmoid=False is not supported', key='use_sigmoid'
            )
        self.weight = weight

    def __call__(self, cls_pred: Tensor, gt_labels: Tensor) -> Tensor:
        """(Q, K) from logits (Q, ...) and binary masks (K, ...)."""
        logits = cls_pred.flatten(1).float()
        masks = gt_labels.flatten(1).float()
        positive, negative = F.softplus(-logits), F.softplus(logits)
        return (positive @ masks.T + negative @ (1 - masks).T) / logits.shape[1] * self.weight
