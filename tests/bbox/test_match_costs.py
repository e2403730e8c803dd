from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mmkit.bbox.match_costs import (
    BBoxL1Cost,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    FocalLossCost,
    IoUCost,
)


def test_l1_in_both_formats() -> None:
    pred = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    gts = torch.tensor([[0.4, 0.3, 0.6, 0.7], [0.5, 0.3, 0.7, 0.9]])
    # The second: centre (0.6, 0.6), size (0.2, 0.6); corners differ by 0.1, 0, 0.1, 0.2.
    torch.testing.assert_close(BBoxL1Cost(5.0, 'xywh')(pred, gts), torch.tensor([[0, 5 * 0.4]]))
    torch.testing.assert_close(BBoxL1Cost()(pred, gts), torch.tensor([[0, 0.4]]), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match='cxcywh'):
        BBoxL1Cost(box_format='cxcywh')


def test_classification_is_minus_the_probability() -> None:
    logits = torch.tensor([[math.log(3.0), 0, 0]])
    torch.testing.assert_close(ClassificationCost(2.0)(logits, torch.tensor([0, 2])), torch.tensor([[-1.2, -0.4]]))


def test_focal_cost_at_even_odds() -> None:
    # At probability 1/2: 0.25 (0.25 - 0.75) log 2.
    cost = FocalLossCost()(torch.zeros(1, 3), torch.tensor([1, 2]))
    torch.testing.assert_close(cost, torch.full((1, 2), 0.25 * -0.5 * math.log(2)))
    masks = FocalLossCost(binary_input=True)(torch.zeros(1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]))
    torch.testing.assert_close(masks, torch.tensor([[0.25 * math.log(2) * (0.25 + 3 * 0.75) / 4]]))


def test_iou_cost() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    others = torch.tensor([[0.0, 0, 10, 5], [10, 0, 20, 10]])
    torch.testing.assert_close(IoUCost('iou', 2.0)(boxes, others), torch.tensor([[-1.0, 0]]))
    torch.testing.assert_close(IoUCost()(boxes, others), torch.tensor([[-0.5, 0]]))


def test_mask_costs() -> None:
    pred = torch.tensor([[0.5, 0.5, 1.0, 0.0]])
    gts = torch.tensor([[1, 0, 1, 0]])
    torch.testing.assert_close(DiceCost(eps=0.0)(pred, gts), torch.tensor([[1 - 3 / 4]]))
    torch.testing.assert_close(DiceCost(eps=0.0, naive_dice=False)(pred, gts), torch.tensor([[1 - 3 / 3.5]]))
    expected = F.binary_cross_entropy_with_logits(pred, gts.float()).view(1, 1)
    torch.testing.assert_close(CrossEntropyLossCost()(pred, gts), expected)
    with pytest.raises(ValueError, match='use_sigmoid'):
        CrossEntropyLossCost(use_sigmoid=False)
