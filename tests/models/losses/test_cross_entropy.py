from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import CrossEntropyLoss

LOG2 = math.log(2)


def test_softmax_with_weights_and_avg_factor() -> None:
    pred = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    labels = torch.tensor([0, 1])
    loss = CrossEntropyLoss()
    torch.testing.assert_close(loss(pred, labels), torch.tensor((math.log(4 / 3) + LOG2) / 2))
    weighted = loss(pred, labels, torch.tensor([0.0, 1.0]), avg_factor=4)
    torch.testing.assert_close(weighted, torch.tensor(LOG2 / 4))
    by_class = CrossEntropyLoss(class_weight=[0.0, 3.0], reduction='sum', loss_weight=2.0)
    torch.testing.assert_close(by_class(pred, labels), torch.tensor(6 * LOG2))


def test_ignored_labels_count_in_the_mean_unless_told() -> None:
    pred, labels = torch.zeros(4, 2), torch.tensor([0, 1, 255, 255])
    torch.testing.assert_close(CrossEntropyLoss(ignore_index=255)(pred, labels), torch.tensor(LOG2 / 2))
    non_ignore = CrossEntropyLoss(ignore_index=255, avg_non_ignore=True)
    torch.testing.assert_close(non_ignore(pred, labels), torch.tensor(LOG2))
    maps = CrossEntropyLoss(ignore_index=255)(torch.zeros(1, 2, 2, 2), labels.view(1, 2, 2))
    torch.testing.assert_close(maps, torch.tensor(LOG2 / 2))


def test_sigmoid_takes_labels_with_the_background_after_the_classes() -> None:
    pred = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])
    result = CrossEntropyLoss(use_sigmoid=True, reduction='none')(pred, torch.tensor([0, 2]))
    expected = [[math.log(4 / 3), LOG2], [LOG2, math.log(4)]]
    torch.testing.assert_close(result, torch.tensor(expected))
    one_class = CrossEntropyLoss(use_sigmoid=True, reduction='sum')(torch.zeros(3, 1), torch.tensor([0, 1, 1]))
    torch.testing.assert_close(one_class, torch.tensor(3 * LOG2))


def test_sigmoid_weights_a_row_and_ignores_it() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True, ignore_index=1)
    pred, labels = torch.zeros(3, 2), torch.tensor([0, 1, -1])
    torch.testing.assert_close(loss(pred, labels, torch.tensor([3.0, 1, 1]), avg_factor=1), torch.tensor(6 * LOG2))
    torch.testing.assert_close(
        CrossEntropyLoss(use_sigmoid=True, ignore_index=1, avg_non_ignore=True)(pred, labels), torch.tensor(LOG2)
    )


def test_sigmoid_of_soft_targets_and_class_weight() -> None:
    target = torch.tensor([[1.0, 0.0]])
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[5.0, 5.0], reduction='none')
    torch.testing.assert_close(loss(torch.zeros(1, 2), target), torch.tensor([[5 * LOG2, LOG2]]))


def test_mask_form_looks_at_the_channel_of_the_class() -> None:
    pred = torch.zeros(2, 3, 2, 2)
    pred[0, 0], pred[1, 1] = 100.0, 100.0  # the wrong channels
    pred.requires_grad_()
    target = torch.tensor([[[1.0, 0], [0, 0]], [[1, 1], [1, 1]]])
    loss = CrossEntropyLoss(use_mask=True, loss_weight=2.0)(pred, target, torch.tensor([2, 0]))
    torch.testing.assert_close(loss, torch.tensor(2 * LOG2))
    loss.backward()
    assert pred.grad[0, 0].abs().sum() == 0 and pred.grad[0, 2].abs().sum() > 0


def test_nothing_to_classify() -> None:
    labels = torch.zeros(0, dtype=torch.long)
    for loss in (CrossEntropyLoss(), CrossEntropyLoss(use_sigmoid=True)):
        assert loss(torch.zeros(0, 3), labels, torch.zeros(0), avg_factor=0) == 0
        assert loss(torch.zeros(0, 3), labels) == 0
    assert CrossEntropyLoss(use_mask=True)(torch.zeros(0, 3, 2, 2), torch.zeros(0, 2, 2), labels) == 0


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match='exclude'):
        CrossEntropyLoss(use_sigmoid=True, use_mask=True)
    with pytest.raises(ValueError, match='ignore_index'):
        CrossEntropyLoss(use_mask=True, ignore_index=3)
    with pytest.raises(ValueError, match='mean'):
        CrossEntropyLoss(use_mask=True)(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([0]), avg_factor=2)
