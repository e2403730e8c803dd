from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import BoundedIoULoss, CIoULoss, DIoULoss, GIoULoss, IoULoss

KINDS = [IoULoss, GIoULoss, DIoULoss, CIoULoss, BoundedIoULoss]
# Two squares of 10, one shifted by (5, 5): overlap 25, union 175, hull 15 x 15.
PRED = torch.tensor([[0.0, 0, 10, 10]])
TARGET = torch.tensor([[5.0, 5, 15, 15]])
IOU = 25 / 175


def value(loss: torch.nn.Module, pred: torch.Tensor = PRED, target: torch.Tensor = TARGET) -> float:
    return float(loss(pred, target))


def test_iou_modes() -> None:
    assert value(IoULoss()) == pytest.approx(-math.log(IOU))
    assert value(IoULoss(mode='linear')) == pytest.approx(1 - IOU)
    assert value(IoULoss(linear=True)) == pytest.approx(1 - IOU)
    assert value(IoULoss(mode='square')) == pytest.approx(1 - IOU**2)
    assert value(IoULoss(), target=TARGET + 100) == pytest.approx(-math.log(1e-6))
    with pytest.raises(ValueError, match='cubic'):
        IoULoss(mode='cubic')


def test_giou_diou_ciou_by_hand() -> None:
    assert value(GIoULoss()) == pytest.approx(1 - IOU + 50 / 225)
    assert value(DIoULoss()) == pytest.approx(1 - IOU + 50 / 450)
    assert value(CIoULoss()) == pytest.approx(1 - IOU + 50 / 450)  # same aspect ratio
    flat = torch.tensor([[0.0, 0, 10, 8]])  # IoU 0.8, centres 1 apart, hull 10 x 10
    aspect = 4 / math.pi**2 * (math.pi / 4 - math.atan(10 / 8)) ** 2
    expected = 1 - 0.8 + 1 / 200 + aspect**2 / (1 - 0.8 + aspect)
    assert value(CIoULoss(), target=flat) == pytest.approx(expected, rel=1e-4)


def test_bounded_iou_by_hand() -> None:
    loss = BoundedIoULoss(eps=0.0, reduction='none')
    wider = torch.tensor([[0.0, 0, 20, 10]])  # centre 5 away in x, twice as wide
    # x: 1 - (20 - 10) / (20 + 10) = 2 / 3; w: 1 - 1 / 2; minus half of beta.
    torch.testing.assert_close(loss(PRED, wider), torch.tensor([[2 / 3 - 0.1, 0, 0.5 - 0.1, 0]]))


@pytest.mark.parametrize('kind', KINDS)
def test_perfect_boxes_cost_nothing(kind: type) -> None:
    assert value(kind(), target=PRED) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('kind', KINDS[:4])
def test_four_weights_are_averaged(kind: type) -> None:
    loss = kind()
    rows = loss(PRED, TARGET, torch.full((1,), 0.5), avg_factor=2)
    torch.testing.assert_close(rows, loss(PRED, TARGET, torch.tensor([[1.0, 1, 0, 0]]), avg_factor=2))
    torch.testing.assert_close(rows, loss(PRED, TARGET) / 4)


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_to_learn_from_keeps_the_graph(kind: type) -> None:
    pred = PRED.clone().requires_grad_()
    assert kind()(pred, TARGET, torch.zeros(1, 4), avg_factor=1) == 0
    built = kind()(pred[:0], TARGET[:0], torch.zeros(0, 4), avg_factor=0)
    built.backward()
    assert built == 0 and pred.grad.abs().sum() == 0


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_are_finite_for_boxes_apart(kind: type) -> None:
    pred = PRED.clone().requires_grad_()
    kind()(pred, TARGET + 50).backward()
    assert pred.grad.isfinite().all()
