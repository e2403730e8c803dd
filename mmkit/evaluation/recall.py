"""Recall of class-agnostic boxes: how many objects have a proposal near them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def pairwise_iou(first: Array, second: Array, legacy: bool = False) -> Array:
    """IoU of every pair of boxes.

    Args:
        first: (N, 4) xyxy.
        second: (M, 4) xyxy.
        legacy: boxes include their last pixel, as in VOC's devkit (width = x2 - x1 + 1).

    Returns:
        (N, M) float32.
    """
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    extra = 1.0 if legacy else 0.0
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    inter = np.clip(bottom_right - top_left + extra, 0, None).prod(axis=2)  # (N, M)
    area_first = (first[:, 2:4] - first[:, :2] + extra).prod(axis=1)
    area_second = (second[:, 2:4] - second[:, :2] + extra).prod(axis=1)
    union = area_first[:, None] + area_second[None] - inter
    return np.asarray(inter / np.maximum(union, np.finfo(np.float32).eps), np.float32)


def _greedy_overlaps(ious: Array) -> Array:
    """The IoU each object keeps when objects and proposals are paired off, best pair first. (N, M) -> (N,)."""
    kept = np.zeros(len(ious), np.float32)
    ious = ious.copy()
    for index in range(min(ious.shape)):
        gt, proposal = np.unravel_index(ious.argmax(), ious.shape)
        kept[index] = ious[gt, proposal]
        ious[gt, :] = -1
        ious[:, proposal] = -1
    return kept


def box_recalls(
    gts: Sequence[Array],
    proposals: Sequence[Array],
    proposal_nums: Sequence[int] = (100, 300, 1000),
    iou_thrs: Sequence[float] | float = 0.5,
    legacy: bool = False,
) -> Array:
    """Share of the objects of all images that have a proposal of their own.

    Args:
        gts: (N, 4) xyxy of each image.
        proposals: (M, 4) best first, or (M, 5) with scores in the last column, of each image.
        proposal_nums: how many of the best proposals of an image count.
        iou_thrs: how near a proposal must be.
        legacy: see `pairwise_iou`.

    Returns:
        (len(proposal_nums), len(iou_thrs)); zeros where there are no objects.

    Raises:
        ValueError: if the lists are of different lengths.
    """
    if len(gts) != len(proposals):
        raise ValueError(f'ground truth of {len(gts)} images, proposals of {len(proposals)}')
    thrs = np.atleast_1d(np.asarray(iou_thrs, np.float64))
    per_image = []
    for truth, boxes in zip(gts, proposals):
        boxes = np.asarray(boxes) if len(boxes) else np.zeros((0, 4))
        if boxes.shape[1] == 5:
            boxes = boxes[np.argsort(-boxes[:, 4], kind='stable')]
        per_image.append(pairwise_iou(np.asarray(truth).reshape(-1, 4), boxes[:, :4], legacy))
    num_gts = sum(len(ious) for ious in per_image)
    recalls = np.zeros((len(proposal_nums), len(thrs)))
    if num_gts == 0:
        return recalls
    for row, num in enumerate(proposal_nums):
        kept = np.concatenate([_greedy_overlaps(ious[:, :num]) for ious in per_image])
        recalls[row] = [(kept >= thr).sum() / num_gts for thr in thrs]
    return recalls
