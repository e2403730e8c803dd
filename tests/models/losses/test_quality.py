from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import DistributionFocalLoss, QualityFocalLoss, VarifocalLoss

LOG2 = math.log(2)


def test_quality_focal_by_hand() -> None:
    labels, quality = torch.tensor([0, 2]), torch.tensor([0.8, 0.0])
    result = QualityFocalLoss(reduction='none')(torch.zeros(2, 2), (labels, quality))
    torch.testing.assert_close(result, torch.tensor([LOG2 * (0.3**2 + 0.25), LOG2 * 0.5]))
    activated = QualityFocalLoss(reduction='none', activated=True)(torch.full((2, 2), 0.5), (labels, quality))
    torch.testing.assert_close(activated, result)
    weighted = QualityFocalLoss(loss_weight=2.0)(
        torch.zeros(2, 2), (labels, quality), torch.tensor([0.0, 1.0]), avg_factor=4
    )
    torch.testing.assert_close(weighted, result[1] / 2)


def test_distribution_focal_lies_between_two_integers() -> None:
    pred = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    result = DistributionFocalLoss()(pred, torch.tensor([0.25]))
    torch.testing.assert_close(result, torch.tensor(0.75 * LOG2 + 0.25 * 2 * LOG2))


def test_varifocal_by_hand() -> None:
    target = torch.tensor([[0.8, 0.0]])
    result = VarifocalLoss(reduction='none')(torch.zeros(1, 2), target)
    torch.testing.assert_close(result, torch.tensor([[0.8 * LOG2, 0.75 * 0.25 * LOG2]]))
    plain = VarifocalLoss(reduction='none', iou_weighted=False)(torch.zeros(1, 2), target)
    torch.testing.assert_close(plain, torch.tensor([[LOG2, 0.75 * 0.25 * LOG2]]))


@pytest.mark.parametrize('kind', [QualityFocalLoss, VarifocalLoss])
def test_softmax_is_refused_and_heads_see_the_sigmoid(kind: type) -> None:
    assert kind().use_sigmoid
    with pytest.raises(ValueError, match='use_sigmoid'):
        kind(use_sigmoid=False)


def test_nothing_to_classify() -> None:
    none, labels = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    assert QualityFocalLoss()(torch.zeros(0, 2), (labels, none), none, avg_factor=1) == 0
    assert VarifocalLoss()(torch.zeros(0, 2), torch.zeros(0, 2), avg_factor=1) == 0
    assert DistributionFocalLoss()(torch.zeros(0, 3), none, none, avg_factor=1) == 0
