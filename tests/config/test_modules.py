"""Configs that import their bases and types: `with read_base(): from .base import *`, `type=Net`."""

import sys

import pytest

from mmkit.config import Config, ConfigError, UnsafeConfigError

READ_BASE = 'from mmengine.config import read_base\n'


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read top/mine.py of the given text; the other files are given by path."""
    monkeypatch.chdir(tmp_path)

    def read(text, files=None, trust=False):
        for name, content in {'top/mine': text, **(files or {})}.items():
            path = tmp_path / f'{name}.py'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return Config.fromfile('top/mine.py', trust=trust)

    return read


MODEL = """from mmdet.models import FPN, ResNet
from mmdet.models.detectors.retinanet import RetinaNet
model = dict(type=RetinaNet, backbone=dict(type=ResNet, depth=50), neck=dict(type=FPN))
"""
BASE = f"""{MODEL}
head = dict(loss=dict(type='A', w=1))
steps = [dict(type='Load')]
size = 2
loader = dict(size=size, workers=2)
"""


def test_bases_are_modules_of_files(read):
    cfg = read(
        READ_BASE + 'with read_base():\n    from .._base_.models.net import *\n    from .near import lr\n'
        '    from ..common import loops as loops_of_others\n    from .near import stop as end\n',
        {'_base_/models/net': MODEL, 'top/near': 'lr = 0.1\nstop = 5\nother = 1', 'common': 'loops = [1]'},
    )
    assert cfg == {
        'model': {
            'type': 'RetinaNet',
            'backbone': {'type': 'ResNet', 'depth': 50},
            'neck': {'type': 'FPN'},
        },
        'lr': 0.1,
        'loops_of_others': [1],
        'end': 5,
    }
    assert str(cfg.origin('model.backbone.depth')) == '_base_/models/net.py:3'
    assert cfg.text.index('# _base_/models/net.py') < cfg.text.index('# top/near.py') < cfg.text.index('# top/mine.py')


def test_keys_of_bases_are_variables_that_the_config_changes(read):
    cfg = read(
        READ_BASE + 'with read_base():\n    from .base import *\n'
        'model.update(\n    dict(neck=dict(\n        width=2)))\nmodel.backbone.depth = 18\n'
        "steps[0].update(dict(type='Read'))\nhead.merge(dict(loss=dict(_delete_=True, type='B'), x=1))\n"
        "steps = steps + [dict(type='Pack')]\nloader = dict(size=size * 2)\ndel size",
        {'top/base': BASE},
    )
    assert cfg.model == {
        'type': 'RetinaNet',
        'backbone': {'type': 'ResNet', 'depth': 18},
        'neck': {'type': 'FPN', 'width': 2},
    }
    assert cfg.head == {'loss': {'type': 'B'}, 'x': 1}
    assert cfg.steps == [{'type': 'Read'}, {'type': 'Pack'}]
    assert cfg.loader == {'size': 4} and 'size' not in cfg
    origins = {path: str(cfg.origin(path)) for path in ('model.neck.width', 'model.neck.type', 'model.backbone.depth')}
    assert origins == {
        'model.neck.width': 'top/mine.py:6',
        'model.neck.type': 'top/base.py:3',
        'model.backbone.depth': 'top/mine.py:7',
    }


def test_later_bases_win_and_the_same_base_may_be_read_twice(read):
    text = 'with read_base():\n    from .one import *\n    from .two import *\n    from .one import b\n'
    cfg = read(READ_BASE + text, {'top/one': 'a = 1\nb = 1', 'top/two': 'a = 2\nb = 2'})
    assert cfg == {'a': 2, 'b': 1}


def test_bases_of_bases(read):
    middle = READ_BASE + 'with read_base():\n    from .base import *\nmodel.neck.width = 3'
    cfg = read(
        READ_BASE + 'with read_base():\n    from .middle import *\nhead = dict(type=FPN)',
        {'top/middle': middle, 'top/base': MODEL},
    )
    assert cfg.model.neck == {'type': 'FPN', 'width': 3} and cfg.head == {'type': 'FPN'}


def test_a_base_of_mmdet_is_in_the_folder_of_its_configs(read, tmp_path, monkeypatch):
    monkeypatch.setenv('MMKIT_CONFIGS', f'mmdet={tmp_path / "its"}')
    text = READ_BASE + 'with read_base():\n    from mmdet.configs._base_.net import *'
    assert read(text, {'its/_base_/net': MODEL}).model.type == 'RetinaNet'


def test_a_base_may_be_of_the_other_style(read):
    files = {
        'top/base': MODEL,
        'top/middle': READ_BASE + 'with read_base():\n    from .base import *',
        'top/one': 'a = 1',
    }
    assert read("_base_ = ['middle.py', 'one.py']\nmodel = dict(neck=dict(width=1))", files) == {
        'model': {
            'type': 'RetinaNet',
            'backbone': {'type': 'ResNet', 'depth': 50},
            'neck': {'type': 'FPN', 'width': 1},
        },
        'a': 1,
    }
    files['top/middle'] = "_base_ = 'base.py'\nmodel = dict(neck=dict(width=1))"
    cfg = read(READ_BASE + 'with read_base():\n    from .middle import *\nmodel.neck.update(width=2)', files)
    assert cfg.model.neck == {'type': 'FPN', 'width': 2}


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('from mmdet.models import FCOS\nx = dict(type=FCOS)', 'FCOS'),
        ('from mmdet.models import FCOS as Net\nx = dict(type=Net)', 'FCOS'),
        ('from mmengine.dataset.utils import pseudo_collate\nx = dict(type=pseudo_collate)', 'pseudo_collate'),
        ('from mmpretrain.models.backbones import ConvNeXt\nx = dict(type=ConvNeXt)', 'mmpretrain.ConvNeXt'),
        ('from torch.optim.sgd import SGD\nx = dict(type=SGD)', 'SGD'),
        ('from torch.nn.modules.activation import GELU\nx = dict(type=GELU)', 'torch.nn.modules.activation.GELU'),
        ('import torch.nn as nn\nx = dict(type=nn.GELU)', 'torch.nn.GELU'),
        ('import torch\nx = dict(type=torch.nn.GELU)', 'torch.nn.GELU'),
        ('from torch import nn\nx = dict(type=nn.GELU)', 'torch.nn.GELU'),
        ('import mmdet.models\nx = dict(type=mmdet.models.FCOS)', 'FCOS'),
        ('from mine.heads import MyHead\nx = dict(type=MyHead)', 'mine.heads.MyHead'),
        ("from mmdet.models import FCOS\nFCOS = 'b'\nx = dict(type=FCOS)", 'b'),
        ("from mmdet.models import FCOS\nx = [dict(type=FCOS) for FCOS in ['b']][0]", 'b'),
        ('from mmdet.models import FCOS\nx = [dict(type=FCOS.a) for FCOS in [dict(a=5)]][0]', 5),
    ],
)
def test_types_stand_for_their_names(text, value):
    modules = set(sys.modules)
    cfg = Config.fromstring(text)
    assert cfg.x.type == value and set(cfg) <= {'x', 'FCOS'}
    assert set(sys.modules) == modules
    assert Config.fromstring(cfg.pretty_text) == cfg


@pytest.mark.parametrize(
    'text',
    [
        'import numpy',
        'import os.path as p',
        'from mine import CLASSES',
        'from mine import helper',
        'from mmdet import *',
    ],
)
def test_what_is_no_type_is_not_imported(text):
    with pytest.raises(UnsafeConfigError, match='imports nothing but types: `from package.module import Type`'):
        Config.fromstring(text)


WITH = READ_BASE + 'with read_base():\n    '


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (WITH + 'from .base import modle', r"mine\.py:3: .*\n.*the file of \.base has no key 'modle'; .*: model"),
        (
            WITH + 'from .._base_.modles.net import *',
            r'modles/net\.py does not exist \(a base at .*mine\.py:3\); there is no folder .*/modles; .*: models',
        ),
        (WITH + 'from .bsae import *', r'bsae\.py does not exist \(a base at .*mine\.py:3\); the nearest.*: base\.py'),
        (WITH + 'from . import base', r'mine\.py:3: .*write `from \.file import \*`'),
        (WITH + 'from base import *', r"mine\.py:3: 'base' is no config: .*leading dots"),
        (
            WITH + 'from mmdet.configs.no.x import *',
            r'mine\.py:3: mmdet::no/x\.py is not in .*MMKIT_CONFIGS=mmdet=FOLDER',
        ),
        (WITH + 'from .mine import *', 'circle: .*mine.py -> .*mine.py'),
        (
            WITH + 'from .base import *\n_base_ = "base.py"',
            r'mine\.py:4: .* by _base_ or by read_base\(\), not by both',
        ),
        ('_base_ = "base.py"\n' + WITH + 'from .base import *', r'mine\.py:4: .*not by both'),
        ('from .base import *', r'mine\.py:1: .*\n.*inside `with read_base\(\):`'),
        ('with read_base():\n    from .base import *', r'mine\.py:1: .*\n.*from mmengine\.config import read_base'),
        (WITH + 'from .base import *\nx = _base_.model', 'before _base_ is set'),
        (WITH + 'from .base import *\nmodel.nek.type = 1', r"no key 'nek' in model; the nearest: neck"),
        (WITH + 'from .base import *\ndel modle', r"mine\.py:4: .*\n.*'modle' is not defined; the nearest: model"),
        (
            WITH + 'from .base import *\nx = dict(type=RetinNet)',
            "nearest: RetinaNet, ResNet; a type is imported, or .*'RetinNet'",
        ),
        (WITH + 'from .base import *\nx = RetinaNet(a=1)', r'write dict\(type=RetinaNet, \.\.\.\)'),
        (WITH + 'x = 1', r'mine\.py:3: .*\n.*are imports'),
    ],
)
def test_common_mistakes(read, tmp_path, text, message):
    (tmp_path / '_base_' / 'models').mkdir(parents=True)
    with pytest.raises((ConfigError, FileNotFoundError), match=message):
        read(text, {'top/base': MODEL})


def test_read_base_is_not_run_as_python(read):
    with pytest.raises(ConfigError, match=r'mine\.py:4: .*(?s:.*)read_base\(\) is never run'):
        read(WITH + 'from .base import *\nx = open("x")', {'top/base': MODEL}, trust=True)
