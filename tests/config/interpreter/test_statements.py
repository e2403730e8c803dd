import pytest

from mmkit.config import Config, ConfigError


def read(text):
    return dict(Config.fromstring(text))


@pytest.mark.parametrize(
    'text',
    [
        'x = 1 + 2 * 3 - 4 / 5 // 6 % 7 ** 2',
        'x = -1; y = +2; z = ~3; w = not 4',
        'x = 6 | 1; y = 6 & 3; z = 6 ^ 3; w = 1 << 4; v = 16 >> 2',
        'x = 1 < 2 <= 2 != 3; y = 3 > 2 >= 5; z = 1 in [1] and 2 not in (1,)',
        'a = None; w = a is None; v = a is not None',
        "x = 'a' 'b' + 'c' * 3; y = 'abc'[1]; z = 'abc'[::-1]; w = '%s_%03d' % ('a', 5)",
        "x = 0 or 'b'; y = 1 and []; z = 1 if [] else 2",
        'x = [1, *range(3), *(4, 5)]; y = (*x, 6); z = {1, 2} | {3}; w = {*x}',
        "x = {'a': 1, 2: 3, (4, 5): None}; y = {**x, 'a': 6}; z = dict(x, b=1); w = dict(**{'a': 1}, b=2)",
        'x = dict([("a", 1), ("b", 2)])',
        'x = [1, 2, 3][1:]; y = (1, 2)[-1]; z = range(10)[2:6:2]; w = list(z)',
        'x = [a * b for a in range(3) if a for b in (1, 2) if b != a]; y = {a: b for a, b in zip("ab", [1, 2])}',
        'x = {a for a in [1, 1]}; y = sum(a for a in range(4)); z = [[b for b in range(a)] for a in range(3)]',
        'a, (b, *c), d = 1, (2, 3, 4), 5',
        '*a, b = [1]',
        'a = b = [1]; a += (2,); b.append(3)',
        'a = 5; a -= 2; a *= 4; a //= 5; a **= 2',
        "x = dict(a=1); x['b'] = 2; x['a'] += 5; del x['b']; x |= dict(c=3)",
        'x = [1, 2, 3, 4]; x[1:3] = [9]; del x[0]; y = 1; del y',
        'x: int = 3\ny: str\npass\n"text"',
        'x = []\nfor i in range(5):\n  if i < 1: continue\n  if i == 3:\n    break\n  x.append(i)\nelse:\n  x = 0',
        'x = 0\nfor i in [1]:\n  x += 1\nelse:\n  x += 10\nif x > 5:\n  y = 1\nelif x:\n  y = 2\nelse:\n  y = 3',
        'import copy\na = [[1]]; b = copy.deepcopy(a); b[0].append(2)',
        'from copy import deepcopy\na = [[1]]; b = deepcopy(a); b[0].append(2)',
        'x = len("abc"), str(5), int("7"), float("1.5"), bool([]), abs(-2), round(2.567, 1), round(2.5)',
        'x = min(3, 1), max([1, 5]), min([], default=7), sum([1, 2], 10), sum([[1], [2]], []), int("ff", 16)',
        'x = sorted([3, 1], reverse=True), list(enumerate("ab", 1)), list(zip([1, 2], "ab", (5, 6)))',
        'x = list(), tuple(), set(), dict(), list("ab"), tuple([1]), set([1]), list({"a": 1}), str()',
        "x = 'a,b'.split(','), ' a '.strip(), 'ab'.replace('b', 'c'), '-'.join(str(i) for i in range(3)), 'a'.upper()",
        "x = '{}_{a:03d}_{0[0]}'.format(*['bc'], a=5) if 0 else '{}_{a:03d}'.format('b', a=5)",
        "n = 3; x = f'stage{n}', f'{n:02d}', f'{n!r:>5}', f'{n + 1}{{}}', f'{1.5:.{n}f}', f'{[1, n]}'",
        'd = dict(a=1, b=2); x = d.get("c", 5), d.pop("a"), list(d.keys()), list(d.values()), list(d.items())',
        'd = dict(a=1); d.update({"b": 2}, c=3); d.setdefault("e", []).append(1); e = d.copy(); d.clear()',
        'x = [3, 1, 2]; x.sort(reverse=True); x.insert(0, 9); x.remove(1); y = x.index(2), x.count(9); x.reverse()',
        "d = dict(a=dict(b=1)); e = dict(c=d['a']); d['a']['b'] = 2",
        'for a, b in dict(x=1).items():\n  c = a, b',
        '_private = 1\n__hidden = 2',
        'l = [1]\nl *= 2\nt = (1,)\nt += (2,)\ns = "a"\ns += "b"',
        'x = dict(a=dict(b=1)); y = dict(a=dict(c=2)); z = x | y; w = {**x, **y}; x.update(y); x |= z',
        'x = dict(a=dict(b=1)); x |= [("a", dict(c=2))]; y = dict([("a", dict(b=1)), ("a", dict(c=2))])',
    ],
)
def test_same_as_python(text):
    names = {}
    exec(text, names)
    expected = {name: value for name, value in names.items() if not name.startswith('__')}
    expected = {name: value for name, value in expected.items() if not callable(value) and name != 'copy'}
    assert read(text) == expected


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('alpha = 1\nx = alpa', r"2: x = alpa\n  NameError: name 'alpa' is not defined; the nearest: alpha"),
        ('x = [1][5]', r'1: x = \[1\]\[5\]\n  IndexError: list index out of range'),
        (
            'm = dict(\n  depth=5)\nx = m["deph"]',
            "3: .*\n  MissingKeyError: no key 'deph' .*; the nearest: depth",
        ),
        ('x = 1 + "a"', 'TypeError: unsupported operand'),
        ('x = 1 / 0', 'ZeroDivisionError'),
        ('x = len(5)', 'TypeError'),
        ('a, b = 1, 2, 3', '3 values for 2 names'),
        ('a, *b, c = [1]', '1 values for at least 2 names'),
        ('x = (1, 2)\nx[0] = 5', 'items of tuple cannot be set'),
        ('x = {**[1]}', r'\*\* needs a dict, got list'),
        ('x = 5[0]', 'int has no items by index'),
        ('break', 'outside a loop'),
        ('x = (1', 'not valid Python'),
        ('x = 1 @ 2', 'operator MatMult is not one of a config'),
        ('x = dict() + [1]', 'TypeError: unsupported operand'),
        ('x = dict() | [1]', 'needs two dicts'),
    ],
)
def test_wrong_configs_show_line_and_source(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith('<string>.py:')


def test_the_original_error_is_the_cause():
    with pytest.raises(ConfigError) as caught:
        read('x = 1 / 0')
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_keys_know_their_lines():
    cfg = Config.fromstring(
        "a = dict(\n  x=1,\n  y={'z':\n    2})\na['w'] = 3\na.update(\n  v=4)\n"
        "b = dict(a,\n  u=5)\nc = {k: 1 for k in 'q'}\n"
    )
    lines = {path: cfg.origin(path).line for path in ('a.x', 'a.y', 'a.y.z', 'a.w', 'a.v', 'b.x', 'b.u', 'c.q', 'b')}
    assert lines == {'a.x': 2, 'a.y': 3, 'a.y.z': 3, 'a.w': 5, 'a.v': 7, 'b.x': 2, 'b.u': 9, 'c.q': 10, 'b': 8}


def test_values_used_twice_are_separate_in_the_config():
    cfg = Config.fromstring('p = [dict(a=1)]\ndata = dict(train=p, val=p)')
    cfg.data.train[0].a = 5
    assert cfg.p == cfg.data.val == [{'a': 1}]
    assert cfg.data.val[0]._locate('a') == 'data.val.0.a at <string>.py:1'
