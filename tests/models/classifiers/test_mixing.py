"""Mixup and CutMix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmkit.models import build_detector
from mmkit.models.classifiers.mixing import BatchMixture, CutMix, Mixup
from mmkit.structures import Batch
from tests.models.classifiers.test_image_classifier import TINY, batch

SOFT = torch.eye(3)[[0, 1, 2, 0]]


def plain(size: int = 32) -> Batch:
    """Four images, each of one colour: its number."""
    colours = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, size, size)
    return replace(batch(size=size), imgs=colours, gt_labels=SOFT)


@pytest.mark.parametrize('way', [Mixup, CutMix])
def test_labels_are_mixed_as_pixels_are(way: type[Mixup] | type[CutMix]) -> None:
    torch.manual_seed(1)
    for _ in range(5):
        given = replace(plain(), imgs=SOFT.view(4, 3, 1, 1).expand(4, 3, 32, 32))  # a channel for each class
        mixed = way(1.0)(given)
        torch.testing.assert_close(mixed.imgs.mean((2, 3)), mixed.gt_labels)
        assert torch.equal(given.imgs[:, :, 0, 0], SOFT) and torch.equal(given.gt_labels, SOFT)
    assert not torch.equal(mixed.gt_labels, SOFT)


def test_cutmix_pastes_a_rectangle_of_the_drawn_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmkit.models.classifiers.mixing._drawn_share', lambda alpha: 0.75)
    monkeypatch.setattr(torch, 'randperm', lambda number: torch.tensor([1, 2, 3, 0]))
    monkeypatch.setattr(torch, 'rand', lambda number: torch.tensor([0.5, 0.0]))
    mixed = CutMix(1.0)(plain())
    pasted = mixed.imgs[0, 0] == 1
    assert pasted[8:24, :8].all() and pasted.sum() == 16 * 8  # the left half of it is outside
    assert mixed.gt_labels[0].tolist() == pytest.approx([1 - 1 / 8, 1 / 8, 0])
    drawn = CutMix(1.0, correct_lam=False)(plain()).gt_labels[0]
    assert drawn.tolist() == pytest.approx([0.75, 0.25, 0])


def test_one_way_is_chosen_by_its_probability() -> None:
    hard = torch.tensor([0, 1, 2, 0])
    mixture = BatchMixture(3, [dict(type='Mixup', alpha=1.0), dict(type='CutMix', alpha=1.0)], probs=[0, 0])
    untouched = mixture(replace(plain(), gt_labels=hard))
    assert torch.equal(untouched.gt_labels, SOFT) and torch.equal(untouched.imgs, plain().imgs)
    torch.manual_seed(0)
    mixed = BatchMixture(3, dict(type='Mixup', alpha=1.0))(replace(plain(), gt_labels=hard))
    assert not torch.equal(mixed.imgs, plain().imgs)
    torch.testing.assert_close(mixed.gt_labels.sum(1), torch.ones(4))


@pytest.mark.parametrize('loss', [dict(type='CrossEntropyLoss'), dict(type='LabelSmoothLoss', label_smooth_val=0.1)])
def test_a_classifier_learns_from_mixed_images(loss: dict) -> None:
    torch.manual_seed(0)
    augments = [dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)]
    model = build_detector({**TINY, 'head': {**TINY['head'], 'loss': loss}, 'train_cfg': dict(augments=augments)})
    losses = model.train()(batch())
    losses['loss'].backward()
    assert losses['loss'].isfinite() and all(parameter.grad is not None for parameter in model.parameters())
    assert len(model.eval()(batch())) == 4


def test_mistakes() -> None:
    for cfg, word in (
        (dict(augments=[dict(type='Mixup', alpha=0)]), 'alpha'),
        (dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5]), 'probs'),
        (dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[1.5]), 'probs'),
        (dict(augment=[dict(type='CutMix', alpha=1.0)]), 'augments'),
    ):
        with pytest.raises((TypeError, ValueError), match=word):
            build_detector({**TINY, 'train_cfg': cfg})
    with pytest.raises(ValueError, match='none'):
        Mixup(1.0)(replace(plain(), gt_labels=None))
