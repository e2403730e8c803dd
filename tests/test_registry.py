import copy
import subprocess
import sys
import traceback

import pytest

from mmkit.config import Config
from mmkit.registry import Registry, build_from_cfg

PARTS = Registry('test part')
OTHERS = Registry('test other')


@PARTS.register_module()
class Neck:
    def __init__(self, in_channels, out_channels=256, num_outs=5):
        if num_outs < 0:
            raise ValueError(f'num_outs is positive, got {num_outs}')
        self.in_channels, self.out_channels = in_channels, out_channels


@PARTS.register_module()
class Model:
    def __init__(self, neck, train_cfg=None):
        self.neck, self.train_cfg = PARTS.build(neck), train_cfg


@PARTS.register_module(name=['Opener', 'Reader'])
class Opener:
    def __init__(self, path):
        open(path).close()


@PARTS.register_module()
def make(**kwargs):
    return kwargs


@OTHERS.register_module()
class Elsewhere:
    pass


CONFIG = """
model = dict(
    type='Model',
    neck=dict(
        type='Neck',
        in_channels=3,
        {}))
"""


def model_cfg(line=''):
    return Config.fromstring(CONFIG.format(line)).model


def test_builds_nested_and_leaves_the_config_alone():
    cfg = model_cfg()
    before = copy.deepcopy(cfg)
    model = PARTS.build(cfg, train_cfg=dict(a=1))
    assert isinstance(model.neck, Neck) and model.neck.out_channels == 256 and model.train_cfg == {'a': 1}
    assert cfg == before


def test_config_wins_over_defaults():
    cfg = dict(type='Neck', in_channels=1)
    assert build_from_cfg(cfg, PARTS, dict(in_channels=2, out_channels=3)).in_channels == 1
    assert build_from_cfg(cfg, PARTS, dict(type='Model', out_channels=3)).out_channels == 3


def test_types_may_be_classes_functions_and_dotted_paths():
    assert isinstance(PARTS.build(dict(type=Neck, in_channels=1)), Neck)
    assert PARTS.build(dict(type='make', a=1)) == {'a': 1}
    assert isinstance(PARTS.build(dict(type='mmkit.config.Config')), Config)


def test_objects_are_returned_as_they_are():
    neck = Neck(3)
    assert PARTS.build(neck) is neck


@pytest.mark.parametrize('cfg', [None, 'Neck', 5, [dict(type='Neck')]])
def test_what_cannot_be_built(cfg):
    with pytest.raises(TypeError, match='a test part is built from a dict with `type`, or is an object'):
        PARTS.build(cfg)


def test_type_is_needed():
    with pytest.raises(KeyError, match='a test part needs `type`, the dict has a, b'):
        PARTS.build(dict(a=1, b=2))
    with pytest.raises(TypeError, match='`type` is a name or a class, got 5'):
        PARTS.build(dict(type=5))


def test_the_place_of_a_dict_without_type():
    cfg = Config.fromstring('x = dict(\n    a=1,\n    b=2,\n)').x
    with pytest.raises(KeyError, match=r'the dict has a, b \[x\.a at .*:2\]'):
        PARTS.build(cfg)


def test_unknown_type_names_the_nearest_and_the_way_to_own_classes():
    with pytest.raises(KeyError) as caught:
        PARTS.build(Config.fromstring("\nmodel = dict(\n    type='Necks')").model)
    message = caught.value.args[0]
    assert message.startswith("'Necks' is not a registered test part; the nearest: Neck")
    assert "custom_imports=dict(imports=['package.module'])" in message
    assert message.endswith('[model.type at <string>.py:3]')


def test_types_may_have_the_name_of_their_project_in_front():
    for name in ('mmdet.Neck', 'mmcls.Neck', 'mmcv.Neck'):
        assert name in PARTS and PARTS.get(name) is PARTS.get('Neck')
    assert 'mmseg.Neck' not in PARTS and 'mmdet.' not in PARTS
    with pytest.raises(KeyError, match="'Hand' is not a registered test part"):
        PARTS.get('mmcls.Hand')
    with pytest.raises(ValueError, match=r'mmdet\.models\.Neck'):
        PARTS.get('mmdet.models.Neck')


def test_parts_of_mmdetection_that_are_not_here_are_called_so():
    for name in ('SOLOHead', 'mmdet.SOLOHead'):
        with pytest.raises(KeyError, match="'SOLOHead' is a part of mmdetection that mmkit does not have. For one of"):
            PARTS.get(name)
    code = (
        'import mmkit.apis; from mmkit.registry import Registry; from mmkit.utils.names import ELSEWHERE; '
        'print(*(name for registry in Registry.everything for name in registry.names() if name in ELSEWHERE))'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [], 'built meanwhile: take them off ELSEWHERE'


def test_unknown_type_names_the_registry_that_has_it():
    with pytest.raises(KeyError, match='there is a test other of this name'):
        PARTS.get('Elsewhere')
    with pytest.raises(KeyError, match='none is registered'):
        Registry('empty').get('Neck')


def test_wrong_argument_names_the_nearest():
    with pytest.raises(TypeError) as caught:
        PARTS.build(model_cfg('out_chanels=5'))
    assert str(caught.value) == (
        "Neck has no argument 'out_chanels'; the nearest is 'out_channels' [model.neck.out_chanels at <string>.py:7]"
    )
    with pytest.raises(TypeError, match="Neck has no argument 'zzz'; it takes in_channels, out_channels, num_outs"):
        PARTS.build(dict(type='Neck', in_channels=1, zzz=2))


def test_missing_argument():
    cfg = model_cfg()
    del cfg.neck.in_channels
    with pytest.raises(TypeError, match=r"Neck needs the argument 'in_channels' \[model.neck.type at <string>.py:5\]"):
        PARTS.build(cfg)


def test_errors_of_constructors_keep_type_and_traceback_and_name_the_innermost_key_once():
    with pytest.raises(ValueError) as caught:
        PARTS.build(model_cfg('num_outs=-1'))
    assert str(caught.value) == 'num_outs is positive, got -1 [model.neck.type at <string>.py:5]'
    functions = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert functions.count('__init__') == 2  # of the model and of the neck


def test_type_errors_inside_a_constructor_are_its_own():
    with pytest.raises(TypeError, match=r"'<' not supported .* \[model.neck.type at <string>.py:5\]"):
        PARTS.build(model_cfg('num_outs="a"'))


def test_errors_of_the_operating_system_have_a_location_too(tmp_path):
    cfg = Config.fromstring(f"x = dict(type='Reader', path={str(tmp_path / 'none')!r})").x
    with pytest.raises(FileNotFoundError, match=r'\[x.type at <string>.py:1\]') as caught:
        PARTS.build(cfg)
    assert caught.value.filename == str(tmp_path / 'none')


def test_plain_dicts_have_no_location():
    with pytest.raises(ValueError) as caught:
        PARTS.build(dict(type='Neck', in_channels=1, num_outs=-1))
    assert str(caught.value) == 'num_outs is positive, got -1'


def test_a_part_made_by_code_is_located_by_what_is_around_it():
    cfg = model_cfg()
    cfg['neck'] = Neck  # callable, but no object of a part
    cfg.neck = dict(type='Neck', in_channels=1, num_outs=-1)
    with pytest.raises(ValueError, match=r'\[model.neck.type\]'):
        PARTS.build(cfg)


def test_registering_twice_names_both_places():
    with pytest.raises(KeyError, match=r"'Neck' is registered twice as a test part: at .*test_registry.py:\d+ and at"):
        PARTS.register_module(name='Neck', module=Model)
    registry = Registry('test twice')
    registry.register_module(module=Neck)
    registry.register_module(name='Neck', force=True, module=Model)
    assert registry.get('Neck') is Model


def test_register_returns_the_class():
    registry = Registry('test return')
    assert registry.register_module()(Neck) is Neck and registry.register_module('B', module=Neck) is Neck
    assert registry.names() == ['B', 'Neck'] and 'B' in registry and len(registry) == 2
    assert repr(registry) == "Registry('test return': B, Neck)"
    with pytest.raises(TypeError, match='needs its parentheses'):
        registry.register_module(Neck)
