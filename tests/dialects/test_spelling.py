"""Types whose arguments differ between the dialects."""

import pytest

from mmkit.config.config_dict import Origin, convert
from mmkit.dialects.spellings import Spelling, complete, read_v3, write_v3
from mmkit.errors import InvalidTypeError, InvalidValueError

SPELLINGS = {
    'Stretch': Spelling(name='Scale', renamed={'to': 'size'}, applies=lambda cfg: 'size' in cfg),
    'Scale': Spelling(defaults={'keep': (False, True)}, unused={'lazy': (False, None)}),
    'Crop': Spelling(converted={'size': (lambda wh: wh[::-1], lambda hw: hw[::-1])}),
}


def test_names_values_and_defaults_of_nested_configs_are_read():
    steps = [dict(type='mmdet.Stretch', to=3), dict(type='Scale', lazy=False), dict(type='Crop', size=(4, 3))]
    assert read_v3(dict(type='Choice', steps=[steps]), SPELLINGS)['steps'] == [
        [dict(type='Scale', size=3), dict(type='Scale', keep=False), dict(type='Crop', size=(3, 4))]
    ]
    assert steps[0] == dict(type='mmdet.Stretch', to=3)


@pytest.mark.parametrize('cfg', [dict(type='Stretch', to=3, b=1), dict(type='Scale', keep=True), dict(type='Crop')])
def test_what_is_written_reads_the_same(cfg):
    neutral = read_v3(cfg, SPELLINGS)
    assert write_v3(neutral, SPELLINGS) == cfg
    assert read_v3(write_v3(neutral, SPELLINGS), SPELLINGS) == neutral


def test_a_neutral_default_that_differs_is_written():
    assert write_v3(dict(type='Scale'), SPELLINGS) == dict(type='Scale', keep=True)
    assert complete([dict(type='Scale')], SPELLINGS) == [dict(type='Scale', keep=True)]


def test_a_renamed_key_keeps_its_line_and_its_name_in_messages():
    cfg = convert({'type': 'Stretch', 'to': 3}, 'pipeline.2', Origin('a.py', 7))
    neutral = read_v3(cfg, SPELLINGS)
    assert neutral._locate('size') == 'pipeline.2.to at a.py:7'
    assert neutral.deepcopy()._locate('size') == 'pipeline.2.to at a.py:7'


def test_two_spellings_of_one_argument():
    with pytest.raises(InvalidTypeError, match="Stretch has 'to' and 'size'"):
        read_v3(dict(type='Stretch', to=3, size=3), SPELLINGS)


def test_an_argument_without_effect_has_one_of_its_harmless_values():
    with pytest.raises(InvalidValueError, match='Scale: lazy=True is not supported, expected False or None'):
        read_v3(dict(type='Scale', lazy=True), SPELLINGS)
