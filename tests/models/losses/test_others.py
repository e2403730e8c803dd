from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import DiceLoss, KnowledgeDistillationKLDivLoss, SeesawLoss, accuracy

LOG2 = math.log(2)


def test_dice_by_hand() -> None:
    pred, target = torch.tensor([[0.5, 0.5, 1.0, 0.0]]), torch.tensor([[1, 0, 1, 0]])
    naive = DiceLoss(activate=False, naive_dice=True, eps=0.0)
    torch.testing.assert_close(naive(pred, target), torch.tensor(1 - 3 / 4))
    torch.testing.assert_close(DiceLoss(activate=False, eps=0.0)(pred, target), torch.tensor(1 - 3 / 3.5))
    logits = torch.zeros(2, 2, 2)
    torch.testing.assert_close(
        DiceLoss(eps=0.0)(logits, torch.ones(2, 2, 2), torch.tensor([1.0, 0.0])), torch.tensor((1 - 4 / 5) / 2)
    )
    assert DiceLoss()(logits[:0], logits[:0]) == 0
    with pytest.raises(ValueError, match='use_sigmoid'):
        DiceLoss(use_sigmoid=False)


def test_distillation_is_zero_for_equal_distributions() -> None:
    loss = KnowledgeDistillationKLDivLoss(T=2)
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]], requires_grad=True)
    assert loss(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-6)
    student = torch.zeros(1, 2, requires_grad=True)
    result = loss(student, teacher)
    expected = 4 / 2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert result.item() == pytest.approx(expected, rel=1e-5)
    result.backward()
    assert teacher.grad is None and student.grad is not None
    with pytest.raises(ValueError, match='at least 1'):
        KnowledgeDistillationKLDivLoss(T=0)


def test_seesaw_spares_rare_classes() -> None:
    loss = SeesawLoss(num_classes=2, p=1.0, q=0.0)
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    result = loss(torch.zeros(6, 4), labels, avg_factor=6)
    assert loss.cum_samples.tolist() == [4, 1, 1]
    torch.testing.assert_close(result['loss_cls_objectness'], torch.tensor(LOG2))
    # For class 0 the rare other counts a quarter; for class 1 the frequent other counts in full.
    torch.testing.assert_close(result['loss_cls_classes'], torch.tensor((4 * math.log(1.25) + LOG2) / 6))
    total = SeesawLoss(num_classes=2, p=0.0, q=2.0, return_dict=False)(torch.zeros(1, 4), torch.tensor([2]))
    torch.testing.assert_close(total, torch.tensor(LOG2))


def test_seesaw_punishes_high_scores_of_others() -> None:
    loss = SeesawLoss(num_classes=2, p=0.0, q=2.0)
    logits = torch.tensor([[0.0, LOG2, 0.0, 0.0]])  # the other class scores twice as much: factor 4, so 8 to 1
    result = loss(logits, torch.tensor([0]))
    torch.testing.assert_close(result['loss_cls_classes'], torch.tensor(math.log(9.0)))


def test_seesaw_tells_heads_how_to_use_it() -> None:
    loss = SeesawLoss(num_classes=2)
    assert loss.get_cls_channels(2) == 4
    probs = loss.get_activation(torch.tensor([[0.0, 0.0, math.log(3.0), 0.0]]))
    torch.testing.assert_close(probs, torch.tensor([[0.375, 0.375, 0.25]]))
    result = loss.get_accuracy(torch.tensor([[1.0, 0, 1, 0], [0, 1, 1, 0]]), torch.tensor([0, 2]))
    assert result['acc_objectness'] == 50 and result['acc_classes'] == 100
    with pytest.raises(ValueError, match='has 3'):
        loss.get_cls_channels(3)


def test_accuracy() -> None:
    pred = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])
    target = torch.tensor([1, 1, 2, 2])
    assert accuracy(pred, target) == 50
    assert [float(x) for x in accuracy(pred, target, topk=(1, 2, 3))] == [50, 75, 100]
    assert accuracy(pred, target, thresh=0.6) == 25
    assert accuracy(pred[:0], target[:0]) == 0
    with pytest.raises(ValueError, match='topk 4'):
        accuracy(pred, target, topk=4)
