"""From proposals to the regions a head is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.bbox import SamplingResult
from mmkit.structures import Batch, Instances


@torch.no_grad()
def sample_regions(
    assigner: Any,
    sampler: Any,
    proposals: Sequence[Instances],
    batch: Batch,
    hard_losses: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> list[SamplingResult]:
    """Match the proposals of each image with its ground truth and draw a sample.

    Args:
        hard_losses: (index of the image, bboxes (K, 4), labels (K,)) -> (K,) losses; OHEM asks for them.
    """
    assert batch.gts is not None
    found = []
    for index, (boxes, gts) in enumerate(zip(proposals, batch.gts, strict=True)):
        ignored = batch.ignored[index] if batch.ignored is not None else None
        assignment = assigner.assign(boxes.bboxes, gts, ignored)

        def image_losses(bboxes: Tensor, labels: Tensor, index: int = index) -> Tensor:
            assert hard_losses is not None
            return hard_losses(index, bboxes, labels)

        found.append(sampler.sample(assignment, boxes.bboxes, gts, image_losses if hard_losses else None))
    return found
