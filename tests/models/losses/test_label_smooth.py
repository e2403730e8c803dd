import pytest
import torch
import torch.nn.functional as F

from mmkit.models import build_loss

PRED = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 3.0, -2.0, 0.5]])
TARGET = torch.tensor([0, 3])


def loss(mode='original', **more):
    return build_loss(dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode=mode, **more))


@pytest.mark.parametrize(
    ('mode', 'of_class', 'of_others'),
    [('original', 0.925, 0.025), ('classy_vision', 1.025 / 1.1, 0.025 / 1.1), ('multi_label', 0.9, 0.1)],
)
def test_targets(mode, of_class, of_others):
    expected = torch.full((2, 4), of_others)
    expected[[0, 1], TARGET] = of_class
    assert torch.allclose(loss(mode).soften(TARGET, 4), expected)
    assert torch.allclose(loss(mode).soften(F.one_hot(TARGET, 4), 4), expected)


def test_values():
    assert loss()(PRED, TARGET).item() == pytest.approx(F.cross_entropy(PRED, TARGET, label_smoothing=0.1).item())
    none = build_loss(dict(type='LabelSmoothLoss', label_smooth_val=0.0, loss_weight=2.0))
    assert none(PRED, TARGET).item() == pytest.approx(2 * F.cross_entropy(PRED, TARGET).item())
    weighted = loss(reduction='none')(PRED, TARGET, weight=torch.tensor([1.0, 0.0]))
    assert weighted.shape == (2,) and weighted[1] == 0 < weighted[0]


def test_several_classes_of_a_row():
    target = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]])
    each = F.binary_cross_entropy_with_logits(PRED, target * 0.8 + 0.1, reduction='none')
    assert loss('multi_label')(PRED, target, avg_factor=2).item() == pytest.approx(each.sum().item() / 2)
    assert loss('multi_label')(PRED, target, torch.tensor([0.0, 1.0]), 2).item() == pytest.approx(
        each[1].sum().item() / 2
    )


def test_what_is_refused():
    with pytest.raises(ValueError, match='from 0 to below 1, got 1'):
        build_loss(dict(type='LabelSmoothLoss', label_smooth_val=1))
    with pytest.raises(ValueError, match="got 'soft'"):
        loss('soft')
    with pytest.raises(ValueError, match='num_classes=3, the predictions have 4'):
        loss(num_classes=3)(PRED, TARGET)
