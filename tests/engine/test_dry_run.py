from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.config import Config
from mmkit.engine.dry_run import dry_run_prediction, dry_run_training, model_parts_named
from mmkit.errors import InvalidValueError, MissingFileError, UserError
from tests.engine.toys import ToyDataset, toy_model

CONFIG = """model = dict(
    type='Net',
    neck=dict(type='Neck', in_channels=4),
    heads=[dict(type='Head'), dict(type='Head')],
)
"""


class Head(nn.Module):
    def forward(self, feats):
        if feats.shape[1] == 5:
            raise KeyError('five')
        return feats

    def loss(self, outs):
        raise InvalidValueError('no target')


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.neck = nn.Sequential(nn.Conv2d(4, 5, 1))
        self.heads = nn.ModuleList([nn.Identity(), Head()])

    def forward(self, imgs):
        if len(imgs) == 0:
            raise ValueError('no image')
        feats = imgs if imgs.shape[1] == 6 else self.neck(imgs)
        outs = self.heads[1](self.heads[0](feats))
        return self.heads[1].loss(outs)


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / 'cfg.py').write_text(CONFIG)
    return Config.fromfile(tmp_path / 'cfg.py').model


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((1, 3, 2, 2), r'RuntimeError: .*3 channels instead \[model\.neck at \S*cfg\.py:3\]'),
        ((1, 4, 2, 2), r"KeyError: 'five' \[model\.heads\.1 at \S*cfg\.py:4\]"),
        ((0, 4, 2, 2), r'ValueError: no image \[model at \S*cfg\.py:2-4\]'),
        ((1, 6, 2, 2), r'no target \[model\.heads\.1 at \S*cfg\.py:4\]'),
    ],
)
def test_the_innermost_part_that_has_a_config_is_named(cfg, shape, message):
    model = Net()
    with pytest.raises(UserError, match=f'^{message}$'), model_parts_named(model, cfg):
        model(torch.zeros(shape))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_part_that_code_added_to_the_config_is_not_named(cfg):
    cfg.neck = dict(type='Neck')
    model = Net()
    with (
        pytest.raises(UserError, match=r'3 channels instead \[model at \S*cfg\.py:2-4\]$'),
        model_parts_named(model, cfg),
    ):
        model(torch.zeros(1, 3, 2, 2))


def test_texts_that_look_like_numbers_are_mentioned(cfg):
    cfg.neck.out_channels = '256'
    message = "model.neck.out_channels .*is the text '256': is a number meant"
    with pytest.raises(UserError, match=message), model_parts_named(Net(), cfg):
        raise TypeError('unsupported operand')


def test_errors_without_a_place_stay_as_they_are(cfg):
    model = Net()
    with pytest.raises(ValueError, match='^no image$'), model_parts_named(model, None):
        model(torch.zeros(0, 4, 2, 2))
    with pytest.raises(torch.OutOfMemoryError, match='^full$'), model_parts_named(model, cfg):
        raise torch.OutOfMemoryError('full')


@pytest.mark.parametrize('dry_run', [dry_run_training, dry_run_prediction])
def test_nothing_is_left_of_a_dry_run(dry_run):
    model, dataset = toy_model(), ToyDataset()
    model.train()
    model.bn.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    dry_run(model, dataset, None, None)
    assert torch.equal(torch.rand(3), expected)
    assert dataset.loaded == [0]
    assert model.training and not model.bn.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(param.grad is None for param in model.parameters())


def test_an_empty_dataset_is_left_to_the_runner():
    dry_run_training(toy_model(), ToyDataset(0), None, None)


class Failing(ToyDataset):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def get(self, index, rng):
        raise self.error


@pytest.mark.parametrize(
    ('error', 'place'),
    [
        (FileNotFoundError('no image file images/a.png'), 'data.train.img_prefix at '),
        (MissingFileError('no image file images/a.png'), 'data.train.img_prefix at '),
        (KeyError('gt_bboxes'), 'data.train at '),
        (InvalidValueError('too large', key='crop_size'), 'data.train at '),
        (InvalidValueError('none', key='classes'), 'data.train.classes at '),
    ],
)
def test_a_sample_that_cannot_be_made_names_its_dataset(tmp_path, error, place):
    (tmp_path / 'cfg.py').write_text("data = dict(train=dict(type='Toy', classes=('a',),\n    img_prefix='images'))")
    cfg = Config.fromfile(tmp_path / 'cfg.py').data.train
    with pytest.raises(UserError, match=rf'{error.args[0]}.* \[{place}\S*cfg\.py'):
        dry_run_training(toy_model(), Failing(error), cfg, None)


def test_views_for_a_test_are_no_training_data(monkeypatch):
    get = ToyDataset.get
    monkeypatch.setattr(ToyDataset, 'get', lambda self, index, rng: [get(self, index, rng)] * 2)
    with pytest.raises(UserError, match='several views of an image'):
        dry_run_training(toy_model(), ToyDataset(), None, None)
