from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmkit import Config
from mmkit.layers.fuse import fuse_conv_bn
from mmkit.models import build_detector
from mmkit.structures import Batch, ClassScores, ImageMeta

CONFIGS = sorted((Path(__file__).parents[3] / 'configs' / 'imagenet').glob('*.py'))
TINY = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=32, topk=(1, 2), cal_acc=True),
)


def batch(num_images=4, size=32):
    meta = ImageMeta('a.png', 'a.png', 0, (size, size), (size, size), (size, size), np.ones(4, np.float32))
    imgs = torch.randn(num_images, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Batch(imgs=imgs, metas=[meta] * num_images, gt_labels=torch.arange(num_images) % 3)


def tiny(**head):
    torch.manual_seed(0)
    return build_detector({**TINY, 'head': {**TINY['head'], **head}})


def test_training_gives_losses_and_testing_gives_scores():
    model = tiny().train()
    losses = model(batch())
    assert list(losses) == ['loss', 'top-1', 'top-2']
    logits = model.head(model.extract_feat(batch().imgs))
    assert losses['loss'].item() == pytest.approx(nn.functional.cross_entropy(logits, batch().gt_labels).item())
    assert losses['top-2'].item() in (0, 25, 50, 75, 100)
    predictions = model.eval()(batch())
    assert len(predictions) == 4 and all(isinstance(each, ClassScores) for each in predictions)
    expected = model.head(model.extract_feat(batch().imgs)).softmax(1)
    assert torch.allclose(predictions[2].scores, expected[2])
    assert predictions[2].scores.untyped_storage().nbytes() == 12


def test_names_of_parameters_are_mmclassifications():
    names = set(tiny().state_dict())
    assert {'backbone.conv1.weight', 'backbone.layer4.1.bn2.running_var', 'head.fc.weight', 'head.fc.bias'} <= names
    assert all(name.startswith(('backbone.', 'head.fc.')) for name in names)


def test_batch_norms_are_trained_unless_the_config_says_otherwise():
    assert tiny().train().backbone.bn1.training
    model = build_detector({**TINY, 'backbone': {**TINY['backbone'], 'norm_eval': True}})
    assert not model.train().backbone.bn1.training


def test_the_head_starts_small():
    model = tiny()
    model.init_weights()
    assert 0.003 < model.head.fc.weight.std().item() < 0.03 and model.head.fc.bias.abs().max().item() == 0


def test_folded_batch_norms_change_no_score():
    model = tiny().train()
    model(batch())  # statistics other than 0 and 1
    before = model.eval()(batch())
    assert fuse_conv_bn(model) == 20
    assert all(torch.allclose(a.scores, b.scores, atol=1e-5) for a, b in zip(before, model(batch())))


def test_pretrained_is_for_the_whole_classifier(tmp_path):
    torch.save({'state_dict': tiny().state_dict()}, tmp_path / 'a.pth')
    torch.manual_seed(1)
    model = build_detector({**TINY, 'pretrained': str(tmp_path / 'a.pth')})
    model.init_weights()
    assert torch.equal(model.head.fc.weight, tiny().head.fc.weight)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'train_cfg': {'augments': {'type': 'Mixup', 'alpha': -1}}}, 'alpha of Mixup'),
        ({'head': None}, 'needs a head'),
        ({'pretrained': 'a.pth', 'init_cfg': {'type': 'Constant', 'val': 0}}, 'pretrained and init_cfg'),
        ({'head': {**TINY['head'], 'num_classes': 0}}, 'num_classes is 0'),
        ({'head': {**TINY['head'], 'topk': (1, 5)}}, r'topk=\(1, 5\) of 3 classes'),
        ({'neck': {'type': 'GlobalAveragePooling', 'dim': 4}}, 'dim is 1, 2 or 3'),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build_detector({**TINY, **change})


def test_topk_does_not_matter_where_it_is_not_logged():
    assert list(tiny(topk=(1, 5), cal_acc=False).train()(batch())) == ['loss']


def test_shapes_that_do_not_fit_are_explained():
    with pytest.raises(ValueError, match='GlobalAveragePooling.* missing'):
        build_detector({**TINY, 'neck': None}).eval()(batch())
    with pytest.raises(ValueError, match=r'in_channels=5\), got \(4, 32\)'):
        tiny(in_channels=5).eval()(batch())
    unlabelled = batch()
    unlabelled.gt_labels = None
    with pytest.raises(ValueError, match="keys=\\['img', 'gt_label'\\]"):
        tiny().train()(unlabelled)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_build_and_learn(path):
    cfg = Config.fromfile(str(path))
    model = build_detector(cfg.model).train()
    model(batch(2, 64))['loss'].backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None]
