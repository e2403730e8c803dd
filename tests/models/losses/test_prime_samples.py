from __future__ import annotations

import pytest
import torch

from mmkit.models.losses.prime_samples import RankWeights, carl_from, carl_loss, isr_from, isr_weights


def test_settings_have_the_defaults_of_their_kind() -> None:
    assert isr_from({}) is None and carl_from({'carl': None}) is None
    assert isr_from({'isr': {}}) == RankWeights(k=2.0, bias=0.0)
    assert carl_from({'carl': {'k': 3}}) == RankWeights(k=3, bias=0.2)
    with pytest.warns(UserWarning, match='power'):
        isr_from({'isr': {'power': 2}})


def test_the_best_of_each_object_come_first() -> None:
    ious = torch.tensor([0.9, 0.8, 0.5, 0.6])
    objects = torch.tensor([0, 0, 1, 2])
    labels = torch.tensor([1, 1, 1, 0])
    ones, losses = torch.ones(4), torch.tensor([1.0, 2, 3, 4])
    weights = isr_weights(RankWeights(k=1, bias=0), ious, labels, objects, ones, losses)
    # Class 1: 0.9 first, then 0.5 as the best of its object, then 0.8: 1, 2/3, 1/3. Alone in its class: 1.
    wanted = torch.tensor([1, 1 / 3, 2 / 3, 1])
    torch.testing.assert_close(weights, wanted * 10 / (1 + 2 / 3 + 2 + 4))
    assert (weights * losses).sum().item() == pytest.approx(10)
    sharper = isr_weights(RankWeights(k=2, bias=0.5), ious, labels, objects, ones, losses)
    torch.testing.assert_close(sharper / sharper[0], ((1 + wanted) / 2) ** 2)


def test_sure_positives_count_more_in_the_box_loss() -> None:
    probabilities = torch.tensor([0.9, 0.1], requires_grad=True)
    losses = torch.tensor([[1.0, 1], [0, 4]])
    loss = carl_loss(RankWeights(k=1, bias=0.2), probabilities, losses)
    # Weights 0.92 and 0.28, scaled to the sum 2.
    assert loss.item() == pytest.approx((2 * 0.92 + 4 * 0.28) * 2 / 1.2)
    loss.backward()
    assert probabilities.grad is not None
    assert probabilities.grad[0] < 0 < probabilities.grad[1]  # the better box should become the surer


def test_no_positives() -> None:
    none, labels = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    assert isr_weights(RankWeights(2, 0), none, labels, labels, none, none).shape == (0,)
    assert carl_loss(RankWeights(1, 0.2), none, torch.zeros(0, 4)).item() == 0
