import argparse

import pytest

from mmkit.config.options import DictAction, parse_value


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('-1e-3', -0.001),
        ('True', True),
        ('false', False),
        ('None', None),
        ('text', 'text'),
        ('', ''),
        ('"1"', '1'),
        ("'a,b'", 'a,b'),
        ('x,y', ['x', 'y']),
        ('x,', ['x']),
        ('1,2.5,None', [1, 2.5, None]),
        ('[1,2]', [1, 2]),
        ('[]', []),
        ('()', ()),
        ('(1333,800)', (1333, 800)),
        ('(1333, 800), (1333,600)', [(1333, 800), (1333, 600)]),
        ('[(a,b),[c,true]]', [('a', 'b'), ['c', True]]),
        ('(5)', 5),
        ('(5,)', (5,)),
        ("{'type': 'BN', 'n': [1]}", {'type': 'BN', 'n': [1]}),
        ('data/coco/a b.json', 'data/coco/a b.json'),
        ("it's", "it's"),
        ('a=b', 'a=b'),
        ('007', '007'),
        ('__import__("os").system("x")', '__import__("os").system("x")'),
        ('lambda: 1', 'lambda: 1'),
        ('[\'a]\', "b,"]', ['a]', 'b,']),
    ],
)
def test_values(text, value):
    parsed = parse_value(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize('text', ['[1,2', '(1', "'a", '{1: }', '"a" + 1'])
def test_unclosed_values(text):
    with pytest.raises(ValueError, match='is missing|is not a literal'):
        parse_value(text)


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser


def test_action_collects_over_several_uses(parser):
    words = ['--cfg-options', 'a.b=1', 'c=[1,2]', 'd=(1333,800)', 'e=x,y', '--cfg-options', 'f=None', 'g=True', 'a.b=2']
    expected = {'a.b': 2, 'c': [1, 2], 'd': (1333, 800), 'e': ['x', 'y'], 'f': None, 'g': True}
    assert parser.parse_args(words).cfg_options == expected
    assert parser.parse_args([]).cfg_options is None


@pytest.mark.parametrize(
    ('word', 'message'), [('a', 'expected KEY=VALUE'), ('=1', 'KEY=VALUE'), ('a=[1', '] is missing')]
)
def test_action_names_the_wrong_word(parser, word, message, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', word])
    error = capsys.readouterr().err
    assert repr(word) in error and message in error
