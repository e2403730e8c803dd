import math

import numpy as np
import pytest

from mmkit.config import Config

CONTENTS = {
    'text': 'it\'s "q" \\ \n é {{ fileDirname }} {{_base_.x}} {{"',
    'plain_braces': '{{}} {a} {{ x }}',
    'numbers': [1, -2, 1.5, 1e-8, 1e300, math.inf, -math.inf, True, None],
    'empty': [[], (), {}, set()],
    'one': (1,),
    'sets': {3, 1},
    'steps': range(0, 5, 2),
    'keys': {'a b': 1, 'class': 2, 3: {'ok': (4, [5])}, (1, 'x'): 6, '': 7},
    'nested': dict(type='A' * 60, parts=[dict(type='B', values=list(range(60))), (dict(c=1), 'x' * 130)]),
    'items': 5,
    'filename': 'x',
}


def test_pretty_text_reads_back_equal():
    cfg = Config(CONTENTS)
    text = cfg.pretty_text
    assert Config.fromstring(text) == cfg == CONTENTS
    assert max(map(len, text.splitlines())) < 150
    names = {}
    exec(text, names)
    assert {key: names[key] for key in CONTENTS} == CONTENTS


def test_pretty_text_is_laid_out_an_item_a_line():
    cfg = Config(dict(model=dict(type='A', text='x' * 100), b=[(1,), {'a-b': 2}]))
    assert cfg.pretty_text == f"model = dict(\n    type='A',\n    text='{'x' * 100}',\n)\nb = [(1,), {{'a-b': 2}}]\n"


@pytest.mark.parametrize('suffix', ['.py', '.yaml', '.yml', '.json'])
def test_dump_reads_back(tmp_path, suffix):
    cfg = Config(dict(a=1, b=dict(c=[1, dict(d='é {x}')], e=None), f=1.5))
    cfg.dump(tmp_path / f'x{suffix}')
    back = Config.fromfile(tmp_path / f'x{suffix}')
    assert back == cfg and list(back) == ['a', 'b', 'f']


@pytest.mark.parametrize('suffix', ['.yaml', '.json'])
def test_dump_turns_tuples_into_lists(tmp_path, suffix):
    Config(dict(a=(1, (2,)), b={2, 1}, c=range(2))).dump(tmp_path / f'x{suffix}')
    assert Config.fromfile(tmp_path / f'x{suffix}') == {'a': [1, [2]], 'b': [1, 2], 'c': [0, 1]}


def test_scalars_of_numpy_and_classes():
    text = Config(dict(a=np.float32(0.5), b=np.float64(0.1), c=np.int64(3), type=Config)).pretty_text
    assert text == "a = 0.5\nb = 0.1\nc = 3\ntype = 'mmkit.config.config.Config'\n"


def test_values_that_no_config_holds(tmp_path):
    with pytest.raises(TypeError, match=r'model\.x\.0: object <object'):
        _ = Config(dict(model=dict(x=[object()]))).pretty_text
    with pytest.raises(TypeError, match='ndarray'):
        _ = Config(dict(x=np.zeros(2))).pretty_text
    with pytest.raises(ValueError, match="'a-b' is not a Python identifier"):
        _ = Config({'a-b': 1}).pretty_text
    with pytest.raises(ValueError, match=r'got .*x\.toml'):
        Config(dict(a=1)).dump(tmp_path / 'x.toml')
