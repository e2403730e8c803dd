import copy
import importlib
import sys
import traceback
from contextlib import contextmanager

import pytest
from typing_extensions import TypedDict, Unpack

from mmkit.config import Config
from mmkit.errors import InvalidValueError, UserError
from mmkit.registry import BACKBONES, NORM_LAYERS, Registry, build_from_cfg
from mmkit.utils.names import ELSEWHERE

PARTS = Registry('test part')
OTHERS = Registry('test other')


@PARTS.register_module()
class Neck:
    def __init__(self, in_channels, out_channels=256, num_outs=5):
        if num_outs < 0:
            raise ValueError(f'num_outs is positive, got {num_outs}')
        if out_channels < 1:
            raise InvalidValueError(f'out_channels is positive, got {out_channels}', key='out_channels')
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


@contextmanager
def registered(registry, name, target):
    """`target` is in the registry inside of this block."""
    registry.register_module(name, module=target)
    try:
        yield
    finally:
        del registry._entries[name]


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
    with pytest.raises(KeyError, match=r'the dict has a, b \[x at <string>.py:2-3\]'):
        PARTS.build(cfg)


def test_unknown_type_names_the_nearest_and_the_way_to_own_classes():
    with pytest.raises(KeyError) as caught:
        PARTS.build(Config.fromstring("\nmodel = dict(\n    type='Necks')").model)
    message = str(caught.value)
    assert message.startswith("'Necks' is not a registered test part; the nearest: Neck")
    assert "custom_imports=dict(imports=['package.module'])" in message
    assert message.endswith('[model.type at <string>.py:3]')


def test_types_may_have_the_name_of_their_project_in_front():
    for name in ('mmdet.Neck', 'mmcls.Neck', 'mmcv.Neck', 'mmengine.Neck', 'mmdet.models.necks.Neck'):
        assert name in PARTS and PARTS.get(name) is PARTS.get('Neck')
    assert 'mmseg.Neck' not in PARTS and 'mmdet.' not in PARTS
    with pytest.raises(KeyError, match="'Hand' is not a registered test part"):
        PARTS.get('mmcls.Hand')
    with pytest.raises(ValueError, match=r'mmseg\.Neck'):
        PARTS.get('mmseg.Neck')


def test_the_project_of_a_type_may_be_an_argument_of_its_own():
    assert isinstance(PARTS.build(dict(type='Neck', in_channels=1, _scope_='mmpretrain')), Neck)


def test_parts_of_mmdetection_that_are_not_here_are_called_so():
    for name in ('SOLOHead', 'mmdet.SOLOHead'):
        with pytest.raises(KeyError, match="'SOLOHead' is a part of mmdetection that mmkit does not have. For one of"):
            PARTS.get(name)
    importlib.import_module('mmkit.apis')  # which registers everything
    built = {name for registry in Registry.everything for name in registry.names()}
    assert built.isdisjoint(ELSEWHERE), 'built meanwhile: take them off ELSEWHERE'


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
    with pytest.raises(TypeError, match=r"Neck needs the argument 'in_channels' \[model.neck at <string>.py:5\]"):
        PARTS.build(cfg)


def test_complaints_of_constructors_keep_their_kind_and_name_the_innermost_config_once():
    with pytest.raises(ValueError) as caught:
        PARTS.build(model_cfg('num_outs=-1'))
    assert isinstance(caught.value, UserError)
    assert str(caught.value) == 'num_outs is positive, got -1 [model.neck at <string>.py:5-7]'
    functions = [frame.name for frame in traceback.extract_tb(caught.value.__cause__.__traceback__)]
    assert functions[-1] == '__init__'


def test_the_argument_that_a_constructor_blames_is_located():
    with pytest.raises(UserError) as caught:
        PARTS.build(model_cfg('out_channels=0'))
    assert str(caught.value) == 'out_channels is positive, got 0 [model.neck.out_channels at <string>.py:7]'
    assert (caught.value.key, str(caught.value.origin)) == ('model.neck.out_channels', '<string>.py:7')


def test_a_text_for_a_number_is_blamed_by_its_own_key():
    with pytest.raises(TypeError) as caught:
        PARTS.build(model_cfg('num_outs="1e-4"'))
    message = "Neck: num_outs is the text '1e-4', a number is meant: write 0.0001"
    assert str(caught.value) == f'{message} [model.neck.num_outs at <string>.py:7]'


def test_a_text_for_an_argument_that_is_a_number_is_refused():
    class Scale:
        def __init__(self, factor: 'float', name: 'str' = ''):
            self.value = factor

    cfg = Config.fromstring('x = dict(\n    name="2",\n    factor="two")').x
    with pytest.raises(UserError, match=r"factor is the text 'two', expected a number \[x\.factor at <string>\.py:3\]"):
        PARTS.build(cfg, type=Scale)


def test_type_errors_inside_a_constructor_are_its_own():
    with pytest.raises(TypeError, match="'<' not supported") as caught:
        PARTS.build(model_cfg('num_outs="a"'))
    assert not isinstance(caught.value, UserError)


def test_a_text_is_blamed_only_for_a_complaint_that_may_be_about_it():
    with pytest.raises(InvalidValueError, match='out_channels is positive') as caught:
        PARTS.build(Config.fromstring("x = dict(type='Neck', in_channels='3', out_channels=0)").x)
    assert caught.value.key == 'x.out_channels'
    with pytest.raises(ValueError, match='^num_outs is positive'):
        PARTS.build(dict(type='Neck', num_outs=-1), in_channels='20261127')  # a default, which no user wrote


def test_errors_inside_constructors_of_torch_and_mmkit_are_of_the_config():
    cfg = Config.fromstring("x = dict(type='torch.nn.Conv2d', in_channels=1,\n    out_channels=-1, kernel_size=3)").x
    with pytest.raises(UserError, match=r'Conv2d: RuntimeError: .*negative dimension.* \[x at <string>.py:1-2\]'):
        PARTS.build(cfg)


@pytest.mark.skipif(sys.version_info < (3, 11), reason='notes are of Python 3.11')
def test_a_fault_in_a_part_of_a_user_is_none_of_the_config():
    importlib.import_module('mmkit.models')  # registers
    norm = registered(NORM_LAYERS, 'Broken', lambda channels, eps: 1 // 0)
    with norm, pytest.raises(ZeroDivisionError):
        BACKBONES.build(Config.fromstring("x = dict(type='ResNet', depth=18, norm_cfg=dict(type='Broken'))").x)


@pytest.mark.skipif(sys.version_info < (3, 11), reason='notes are of Python 3.11')
def test_other_errors_have_a_note_of_the_location(tmp_path):
    cfg = Config.fromstring(f"x = dict(type='Reader', path={str(tmp_path / 'none')!r})").x
    with pytest.raises(FileNotFoundError) as caught:
        PARTS.build(cfg)
    assert caught.value.filename == str(tmp_path / 'none')
    assert caught.value.__notes__ == ['[x at <string>.py:1]']


def test_arguments_that_a_constructor_hands_on_are_named_too():
    class Relay(Neck):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)

    cfg = Config.fromstring('x = dict(\n    in_channels=1,\n    out_chanels=2)').x
    with pytest.raises(UserError, match=r"Relay has no argument 'out_chanels' \[x\.out_chanels at <string>\.py:3\]"):
        PARTS.build(cfg, type=Relay)


@pytest.mark.skipif(sys.version_info < (3, 11), reason='notes are of Python 3.11')
def test_only_the_innermost_part_is_noted():
    with pytest.raises(TypeError) as caught:
        PARTS.build(model_cfg('num_outs="a"'))
    assert len(caught.value.__notes__) == 1


def test_variants_are_registered_with_defaults():
    registry = Registry('test variants')
    registry.register_module('Wide', module=Neck, defaults=dict(out_channels=512))
    assert registry.build(dict(type='Wide', in_channels=1)).out_channels == 512
    assert registry.build(dict(type='Wide', in_channels=1, out_channels=7)).out_channels == 7
    with pytest.raises(TypeError, match="Wide has no argument 'out_chanels'; the nearest is 'out_channels'"):
        registry.build(dict(type='Wide', in_channels=1, out_chanels=7))


class NeckOptions(TypedDict, total=False):
    out_channels: int
    num_outs: int


def test_options_that_a_variant_passes_on_are_checked_by_name():
    registry = Registry('test variant')

    @registry.register_module()
    class WideNeck(Neck):
        def __init__(self, in_channels, **options: 'Unpack[NeckOptions]'):
            super().__init__(in_channels, **{'out_channels': 512, **options})

    assert registry.build(dict(type='WideNeck', in_channels=1)).out_channels == 512
    assert registry.build(dict(type='WideNeck', in_channels=1, out_channels=2)).out_channels == 2
    with pytest.raises(TypeError, match="WideNeck has no argument 'out_chanels'; the nearest is 'out_channels'"):
        registry.build(dict(type='WideNeck', in_channels=1, out_chanels=2))
    with pytest.raises(TypeError, match="WideNeck needs the argument 'in_channels'"):
        registry.build(dict(type='WideNeck'))


def test_views_share_the_names_and_insist_on_their_verbs():
    view = Registry('test speaker', PARTS, verbs=['speak'])
    assert 'Neck' in view and view not in Registry.everything
    with pytest.raises(TypeError, match="Neck is no test speaker: it has no method 'speak'"):
        view.build(dict(type='Neck', in_channels=1))


def test_plain_dicts_have_no_location():
    with pytest.raises(ValueError) as caught:
        PARTS.build(dict(type='Neck', in_channels=1, num_outs=-1))
    assert str(caught.value) == 'num_outs is positive, got -1'


def test_a_part_made_by_code_is_located_by_what_is_around_it():
    cfg = model_cfg()
    cfg['neck'] = Neck  # callable, but no object of a part
    cfg.neck = dict(type='Neck', in_channels=1, num_outs=-1)
    with pytest.raises(ValueError, match=r'\[model.neck at <code>\]'):
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
