from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.config import Config
from mmkit.engine.failures import located_in_model

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


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.neck = nn.Sequential(nn.Conv2d(4, 5, 1))
        self.heads = nn.ModuleList([nn.Identity(), Head()])

    def forward(self, imgs):
        if len(imgs) == 0:
            raise ValueError('no image')
        return self.heads[1](self.heads[0](self.neck(imgs)))


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / 'cfg.py').write_text(CONFIG)
    return Config.fromfile(tmp_path / 'cfg.py').model


@pytest.mark.parametrize(
    ('shape', 'error', 'message'),
    [
        ((1, 3, 2, 2), RuntimeError, r'3 channels instead\n\[model\.neck at .*cfg\.py:3\]'),
        ((1, 4, 2, 2), KeyError, r'five.*\n\[model\.heads\.1 at .*cfg\.py:4\]'),
        ((0, 4, 2, 2), ValueError, r'no image\n\[model at .*cfg\.py:2-4\]'),
    ],
)
def test_the_innermost_part_that_has_a_config_is_named(cfg, shape, error, message):
    model = Net()
    with pytest.raises(error, match=message), located_in_model(model, cfg):
        model(torch.zeros(shape))


def test_what_has_no_place_stays_as_it_is(cfg):
    model = Net()
    with pytest.raises(ValueError, match='^elsewhere$'), located_in_model(model, cfg):
        raise ValueError('elsewhere')
    with pytest.raises(ValueError, match='^no image$'), located_in_model(model, None):
        model(torch.zeros(0, 4, 2, 2))
    with pytest.raises(torch.OutOfMemoryError, match='^full$'), located_in_model(model, cfg):
        raise torch.OutOfMemoryError('full')
