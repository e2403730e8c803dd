import warnings

import pytest

from mmkit.config import Config, ConfigError
from mmkit.dialects.legacy import upgrade

OLD = """
model = dict(
    type='A',
    pretrained='torchvision://resnet50',
    backbone=dict(type='B'))
train_cfg = dict(x=1)
test_cfg = dict(y=2)
data = dict(imgs_per_gpu=4, samples_per_gpu=2)
total_epochs = 12
"""
INIT = {'type': 'Pretrained', 'checkpoint': 'torchvision://resnet50'}


def test_old_spellings_are_rewritten_with_warnings():
    old = Config.fromstring(OLD)
    with pytest.warns(FutureWarning) as caught:
        cfg = upgrade(old)
    assert cfg == {
        'model': {
            'type': 'A',
            'backbone': {'type': 'B', 'init_cfg': INIT},
            'train_cfg': {'x': 1},
            'test_cfg': {'y': 2},
        },
        'data': {'samples_per_gpu': 4},
        'runner': {'type': 'EpochBasedRunner', 'max_epochs': 12},
    }
    assert type(cfg) is Config and cfg.model.backbone.init_cfg.type == 'Pretrained'
    assert [str(warning.message).split(' is an old')[0] for warning in caught] == [
        'train_cfg at <string>.py:6',
        'test_cfg at <string>.py:7',
        'model.pretrained at <string>.py:4',
        'data.imgs_per_gpu at <string>.py:8',
        'total_epochs at <string>.py:9',
    ]
    assert 'train_cfg' in old and old.data.imgs_per_gpu == 4  # left as it was


def test_pretrained_of_the_backbone():
    with pytest.warns(FutureWarning, match='model.backbone.pretrained'):
        cfg = upgrade(Config(dict(model=dict(backbone=dict(pretrained='torchvision://resnet50')))))
    assert cfg.model.backbone == {'init_cfg': INIT}


def test_pretrained_goes_before_the_weights_of_a_base():
    backbone = dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))
    with pytest.warns(FutureWarning, match='model.pretrained'):
        cfg = upgrade(Config(dict(model=dict(pretrained='torchvision://resnet50', backbone=backbone))))
    assert cfg.model == {'backbone': {'init_cfg': INIT}}


@pytest.mark.parametrize(
    'contents',
    [
        dict(model=dict(pretrained=None, backbone=dict(depth=50)), total_epochs=12, runner=dict(max_epochs=12)),
        dict(data=dict(samples_per_gpu=2)),
        dict(model=dict(type='A', train_cfg=dict(x=1))),
        dict(),
    ],
)
def test_nothing_to_lose(contents):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        cfg = upgrade(Config(contents))
    assert 'total_epochs' not in cfg and cfg.get('runner', {}).get('max_epochs', 12) == 12
    assert 'pretrained' not in cfg.get('model', {})


@pytest.mark.parametrize(
    ('contents', 'message'),
    [
        (
            dict(model=dict(train_cfg=dict(x=1)), train_cfg=dict(x=2)),
            'train_cfg is the old spelling of model.train_cfg',
        ),
        (dict(total_epochs=12, runner=dict(max_epochs=24)), r'old spelling of runner.max_epochs, .* 24'),
        (dict(model=dict(pretrained='a', backbone=dict(init_cfg=dict(type='Kaiming')))), 'model.backbone.init_cfg='),
    ],
)
def test_contradictions(contents, message):
    with pytest.raises(ConfigError, match=message):
        upgrade(Config(contents))
