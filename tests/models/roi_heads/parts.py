"""Small RoI heads and their input for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmkit.bbox import SamplingResult
from mmkit.structures import Batch, BitmapMasks, Instances
from tests.models.scenes import batch_of, truth

SIZE = 32
EXTRACTOR = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=2, sampling_ratio=1),
    out_channels=4,
    featmap_strides=[4, 8],
    finest_scale=8,
)
BBOX = dict(type='Shared2FCBBoxHead', in_channels=4, fc_out_channels=6, roi_feat_size=2, num_classes=3)
MASK = dict(type='FCNMaskHead', num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)
MASK_EXTRACTOR = dict(EXTRACTOR, roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=1))
TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
    sampler=dict(type='RandomSampler', num=8, pos_fraction=0.5),
    mask_size=8,
)
OHEM = dict(type='OHEMSampler', num=4, pos_fraction=0.5, add_gt_as_proposals=False)
TEST = dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=6, mask_thr_binary=0.5)


def feats(num_images: int = 2) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(num_images, 4, SIZE // stride, SIZE // stride) for stride in (4, 8)]


def with_masks(gts: Instances) -> Instances:
    """Each object fills its box."""
    masks = np.zeros((len(gts), SIZE, SIZE), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, gts.bboxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    gts.masks = BitmapMasks(masks, SIZE, SIZE)
    return gts


def scene() -> Batch:
    """Two objects on the first image, one on the second."""
    first = truth(([2, 2, 14, 14], 0), ([16, 16, 30, 28], 2))
    second = truth(([4, 8, 20, 24], 1))
    return batch_of(with_masks(first), with_masks(second), height=SIZE, width=SIZE)


def regions(*bboxes: list[float]) -> Instances:
    return Instances(bboxes=torch.tensor(bboxes, dtype=torch.float).reshape(-1, 4))


def proposals() -> list[Instances]:
    background = [[20.0, 0, 30, 8], [0, 20, 10, 30], [24, 0, 32, 12], [0, 26, 6, 32]]
    return [regions([3, 2, 14, 15], [15, 16, 30, 29], *background), regions([4, 8, 19, 24], *background)]


def samples(
    positive: list[list[float]], negative: list[list[float]], gts: Instances, inds: list[int]
) -> SamplingResult:
    """Positives matched with the ground truths `inds`, and negatives."""
    pos, neg, gt_inds = regions(*positive).bboxes, regions(*negative).bboxes, torch.tensor(inds, dtype=torch.long)
    return SamplingResult(
        pos_inds=torch.arange(len(pos)),
        neg_inds=torch.arange(len(pos), len(pos) + len(neg)),
        pos_bboxes=pos,
        neg_bboxes=neg,
        pos_gt_inds=gt_inds,
        pos_gt_bboxes=gts.bboxes[gt_inds],
        pos_gt_labels=gts.labels[gt_inds],
        pos_is_gt=torch.zeros(len(pos), dtype=torch.bool),
    )


def hardest(head: Any, region_feats: torch.Tensor, labels: list[int], count: int) -> list[int]:
    """Ascending indices of the regions with the greatest cross entropy, worked out apart from the head's own way."""
    logits = head(region_feats)[0]
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction='none')
    return sorted(losses.topk(count).indices.tolist())
