from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import FocalLoss, GaussianFocalLoss

LOG2 = math.log(2)


def test_by_hand() -> None:
    result = FocalLoss(reduction='none')(torch.zeros(2, 2), torch.tensor([1, 2]))
    negative, positive = 0.75 * 0.25 * LOG2, 0.25 * 0.25 * LOG2
    torch.testing.assert_close(result, torch.tensor([[negative, positive], [negative, negative]]))


def test_labels_one_hot_and_probabilities_agree() -> None:
    pred = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    labels, hot = torch.tensor([1, 2]), torch.tensor([[0, 1], [0, 0]])
    expected = FocalLoss(gamma=1.5, alpha=0.4)(pred, labels)
    torch.testing.assert_close(FocalLoss(gamma=1.5, alpha=0.4)(pred, hot), expected)
    activated = FocalLoss(gamma=1.5, alpha=0.4, activated=True)
    torch.testing.assert_close(activated(pred.sigmoid(), labels), expected)


def test_weights_of_rows_and_of_elements() -> None:
    pred, labels = torch.zeros(2, 2), torch.tensor([0, 2])
    loss = FocalLoss(reduction='sum', loss_weight=2.0)
    rows = loss(pred, labels, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(rows, torch.tensor(2 * 0.25 * LOG2))
    torch.testing.assert_close(loss(pred, labels, torch.tensor([[1.0, 1.0], [0.0, 0.0]])), rows)
    torch.testing.assert_close(loss(pred, labels, torch.tensor([1.0, 1.0, 0.0, 0.0])), rows)
    with pytest.raises(ValueError, match=r'\(3,\)'):
        loss(pred, labels, torch.ones(3))


def test_softmax_is_refused_and_heads_see_the_sigmoid() -> None:
    assert FocalLoss().use_sigmoid
    with pytest.raises(ValueError, match='use_sigmoid'):
        FocalLoss(use_sigmoid=False)


def test_nothing_to_classify() -> None:
    labels = torch.zeros(0, dtype=torch.long)
    assert FocalLoss()(torch.zeros(0, 2), labels, torch.zeros(0), avg_factor=0) == 0


def test_gaussian_focal_by_hand() -> None:
    pred, target = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.5]])
    result = GaussianFocalLoss(reduction='none')(pred, target)
    torch.testing.assert_close(result, torch.tensor([[LOG2 * 0.25, LOG2 * 0.25 * 0.5**4]]))
