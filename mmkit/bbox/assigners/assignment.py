"""The outcome of an assigner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.structures import Instances

BACKGROUND = -1
IGNORED = -2


@dataclass
class Assignment:
    """What each of N priors is to predict.

    Attributes:
        gt_inds: (N,) int64, index of the ground truth, -1 background, -2 ignored.
        max_overlaps: (N,) float32, how well the prior fits, by the measure of the assigner.
        labels: (N,) int64, class of the ground truth, -1 where there is none; None if the ground truth has no labels.
        num_gts: number of ground truths.
    """

    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor | None
    num_gts: int

    @classmethod
    def from_gt_inds(cls, gt_inds: Tensor, max_overlaps: Tensor, gts: Instances) -> Assignment:
        """With the labels looked up in `gts`."""
        labels = None
        if gts.labels is not None:
            labels = torch.full_like(gt_inds, -1)
            positive = gt_inds >= 0
            labels[positive] = gts.labels.to(gt_inds.device)[gt_inds[positive]]
        return cls(gt_inds, max_overlaps, labels, len(gts))

    def with_gts(self, gts: Instances) -> Assignment:
        """As if the ground truths themselves were priors, put before the others."""
        labels = self.labels
        if labels is not None:
            assert gts.labels is not None
            labels = torch.cat([gts.labels.to(labels), labels])
        own = torch.arange(len(gts), device=self.gt_inds.device)
        ones = self.max_overlaps.new_ones(len(gts))
        return Assignment(torch.cat([own, self.gt_inds]), torch.cat([ones, self.max_overlaps]), labels, self.num_gts)

    def to(self, device: torch.device | str) -> Assignment:
        labels = None if self.labels is None else self.labels.to(device)
        return Assignment(self.gt_inds.to(device), self.max_overlaps.to(device), labels, self.num_gts)


def all_background(bboxes: Tensor, gts: Instances) -> Assignment:
    """For images without ground truth, or without priors."""
    gt_inds = torch.full((len(bboxes),), BACKGROUND, dtype=torch.long, device=bboxes.device)
    return Assignment.from_gt_inds(gt_inds, bboxes.new_zeros(len(bboxes), dtype=torch.float32), gts)
