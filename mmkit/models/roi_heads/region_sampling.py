"""The regions that a RoI head is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mmkit.models.roi_heads.roi_settings import RoITrainSettings
from mmkit.structures import Batch, Instances, SamplingResult
from mmkit.structures.assignment import RegionPredictions


@torch.no_grad()
def sample_regions(
    settings: RoITrainSettings,
    proposals: Sequence[Instances],
    batch: Batch,
    hard_losses: Callable[[int, Tensor, Tensor], Tensor],
    predict: Callable[[int, Tensor], RegionPredictions] | None = None,
) -> list[SamplingResult]:
    """Match the proposals of each image with its ground truth and draw a sample.

    Args:
        hard_losses: (index of the image, bboxes (K, 4), labels (K,)) -> losses (K,), by which OHEM ranks.
        predict: (index of the image, bboxes (K, 4)) -> what the head makes of them, by which ScoreHLR ranks.
    """
    assert batch.gts is not None
    samples = []
    for index, (regions, gts, ignored) in enumerate(zip(proposals, batch.gts, batch.ignored_regions, strict=True)):
        assignment = settings.assigner.assign(regions.bboxes, gts, ignored)
        of_image = None if predict is None else partial(predict, index)
        samples.append(settings.sampler.sample(assignment, regions.bboxes, gts, partial(hard_losses, index), of_image))
    return samples


def positive_labels(samples: Sequence[SamplingResult]) -> Tensor:
    """(P,) classes of the positive regions of all images."""
    labels = []
    for each in samples:
        assert each.pos_gt_labels is not None
        labels.append(each.pos_gt_labels)
    return torch.cat(labels)
