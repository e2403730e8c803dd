"""Reading a hostile config has no effect: known escapes from restricted Python, and bombs of time and memory."""

import os
import sys

import pytest

from mmkit.config import Config, ConfigError, UnsafeConfigError

ESCAPES = {
    'import': 'import os\nos.system("touch {canary}")',
    'import from': 'from os import system\nsystem("touch {canary}")',
    'import as copy': 'import os as copy\ncopy.system("touch {canary}")',
    'import beside copy': 'import copy, os\nos.system("touch {canary}")',
    'import star': 'from copy import *\nx = weakref',
    'import star of a package': 'from mmdet.models import *',
    'import of a constant': 'from os.path import SEP',
    'call of a type': 'from subprocess import Popen\nx = Popen("touch {canary}")',
    'call of a method of a type': 'from pathlib import Path\nx = Path.touch("{canary}")',
    'call in a module': 'import torch\nx = torch.load("{canary}")',
    'file in read_base': 'from mmengine.config import read_base\nwith read_base():\n    x = open("{canary}", "w")',
    'other with': 'from mmengine.config import read_base\nwith read_base(), open("{canary}", "w"):\n    pass',
    'name of read_base': 'from mmengine.config import read_base\nwith read_base() as x:\n    pass',
    'read_base of another': 'from os import Read_base as read_base\nwith read_base():\n    pass',
    'environment': 'x = "{{{{$HOME:}}}}"',
    '__import__': 'x = __import__("os").system("touch {canary}")',
    'builtins': 'x = __builtins__["open"]("{canary}", "w")',
    'open': 'x = open("{canary}", "w")',
    'eval': "x = eval(\"open('{canary}', 'w')\")",
    'exec': "exec(\"open('{canary}', 'w')\")",
    'compile': 'x = compile("1", "", "eval")',
    'getattr': 'x = getattr((), "__class__")',
    'subclasses': 'x = ().__class__.__bases__[0].__subclasses__()',
    'class of a string': 'x = "".__class__.__mro__[1].__subclasses__()',
    'class of a dict': 'x = dict(a=1).__class__',
    'globals of a method': 'x = dict().update.__globals__',
    'self of a method': 'x = [].append.__self__',
    'method as a value': 'x = [].append',
    'globals of deepcopy': 'import copy\nx = copy.deepcopy.__globals__["sys"]',
    'modules of copy': 'import copy\nx = copy.weakref',
    'reduce': 'x = (1).__reduce_ex__(2)',
    'generator frame': 'x = (i for i in [1]).gi_frame.f_globals',
    'function as a value': 'x = len',
    'function in a list': 'x = [len][0]',
    'called result': 'x = dict(f=1)["f"]()',
    'called lambda': 'x = (lambda: 1)()',
    'lambda': 'x = lambda: 1',
    'def': 'def f():\n    pass',
    'class': 'class A:\n    pass',
    'decorator': '@print\ndef f():\n    pass',
    'walrus': 'x = [y := 1]',
    'with': 'with open("{canary}", "w") as f:\n    pass',
    'try': 'try:\n    x = 1\nexcept Exception as e:\n    x = e.__traceback__.tb_frame',
    'raise': 'raise ValueError',
    'assert': 'assert False',
    'global': 'global x',
    'while': 'while True:\n    pass',
    'await': 'x = [i async for i in y]',
    'match': 'match 1:\n    case int(real=x):\n        pass',
    'format attribute': 'x = "{{0.__class__}}".format(1)',
    'format nested attribute': 'x = "{{0[a].__class__}}".format(dict(a=1))',
    'format attribute by name': 'x = "{{a.__init__.__globals__}}".format(a=1)',
    'format nested in a width': 'x = "{{0:{{1.__class__}}}}".format(1, 2)',
    'format_map': 'x = "{{a.__class__}}".format_map(dict(a=1))',
    'f-string': "x = f'{{().__class__}}'",
    'f-string in a format': "x = f'{{1:{{().__class__}}}}'",
    'dunder name': 'x = __name__',
    'dunder file': 'x = __file__',
    'dunder key as an attribute': 'x = dict(__class__=1).__class__',
    'hidden slot': 'x = dict(a=1)._origins',
    'set a hidden slot': 'x = dict(a=1)\nx._origins = 1',
    'set an attribute': 'x = dict(a=1)\nx.update = 1',
    'delete an attribute': 'x = dict(a=1)\ndel x.update',
    'augment an attribute': 'x = dict(a=1)\nx.__dict__ |= dict(a=2)',
    'set an attribute of a list': 'x = [1]\nx.a = 1',
    'set the class': 'x = dict(a=1)\nx.__class__ = 1',
    'loop over an attribute': 'x = dict(a=1)\nfor x.keys in [1]:\n    pass',
    'private helper': 'x = dict(a=1)._locate("a")',
    'method of addict': 'x = dict(a=1).freeze()',
    'init': 'x = dict(a=1)\nx.__init__(b=2)',
    'setstate': 'x = dict(a=1)\nx.__setstate__(dict(update=1))',
    'fromkeys': 'x = dict().fromkeys([1])',
    'encode': 'x = "a".encode()',
    'bytes': 'x = b"a"',
    'type': 'x = type(1)',
    'vars': 'x = vars()',
    'print': 'print(1)',
    'input': 'x = input()',
    'help': 'x = help()',
    'breakpoint': 'breakpoint()',
    'sort by a key': 'x = [1]\nx.sort(key=len)',
    'base values': '_base_ = []\nx = _base_.__class__',
    'set in bases': '_base_ = []\n_base_._origins = 1',
    'method of bases': '_base_ = []\nx = _base_.update',
    'delete in bases': '_base_ = []\ndel _base_.__dict__',
}

BOMBS = {
    'text': 'x = "a" * 10**10',
    'text from the left': 'x = 10**10 * "a"',
    'list': 'x = [0] * 10**10',
    'nested lists': 'x = [0]\nfor i in range(100):\n    x = [x] * 100',
    'many large lists': 'x = [[0] * 100000 for i in range(100000)]',
    'doubled text': 'x = "a"\nfor i in range(100):\n    x = x + x',
    'doubled in place': 'x = "a"\nfor i in range(100):\n    x += x',
    'list grown by itself': 'x = [1]\nfor i in range(100):\n    x += x',
    'list extended by itself': 'x = [1]\nfor i in range(100):\n    x.extend(x)',
    'power': 'x = 10 ** 10 ** 10',
    'power of a negative': 'x = (-10) ** 10 ** 10',
    'augmented power': 'x = 10\nx **= 10 ** 10',
    'shift': 'x = 1 << 10 ** 10',
    'squares': 'x = 3\nfor i in range(100):\n    x = x * x',
    'power by keyword of round': 'x = round(5, -10 ** 10)',
    'digits': 'x = int("9" * 5000)',
    'digits of base 16': 'x = int("f" * 100000, 16)',
    'range in list': 'x = list(range(10 ** 12))',
    'range in sum': 'x = sum(range(10 ** 12))',
    'range in max': 'x = max(range(10 ** 12))',
    'range in sorted': 'x = sorted(range(10 ** 12))',
    'range in set': 'x = set(range(10 ** 12))',
    'range beyond len': 'x = list(range(10 ** 30))',
    'range in a loop': 'for i in range(10 ** 12):\n    pass',
    'range searched for text': 'x = "a" in range(10 ** 12)',
    'range unpacked': 'x = [*range(10 ** 12)]',
    'range as arguments': 'x = max(*range(10 ** 12))',
    'range extended': 'x = []\nx.extend(range(10 ** 12))',
    'range as a value': 'x = range(10 ** 12)',
    'nested comprehension': 'x = [0 for a in range(9999) for b in range(9999) for c in range(9999)]',
    'join': 'x = ("a" * 1000).join(["b" * 1000] * 10000)',
    'replace': 'x = ("a" * 100000).replace("a", "b" * 100000)',
    'replace of nothing': 'x = ("a" * 100000).replace("", "b" * 100000)',
    'format width': 'x = "{{:1000000000}}".format(1)',
    'format width as an argument': 'x = "{{:{{}}}}".format(1, 10 ** 9)',
    'f-string width': "x = f'{{1:1000000000}}'",
    'f-string precision': "x = f'{{1.5:.1000000000f}}'",
    'percent width': 'x = "%1000000000d" % 1',
    'percent precision': 'x = "%.1000000000f" % 1.5',
    'percent width as an argument': 'x = "%*d" % (10 ** 9, 1)',
    'percent width by name': 'x = "%(a)1000000000d" % dict(a=1)',
    'shared lists as text': 'x = [1]\nfor i in range(60):\n    x = [x, x]\ny = str(x)',
    'shared lists in an f-string': "x = [1]\nfor i in range(60):\n    x = [x, x]\ny = f'{{x}}'",
    'shared lists compared': 'x = [1]\ny = [1]\nfor i in range(60):\n    x = [x, x]\n    y = [y, y]\nz = x == y',
    'shared tuples as a key': 'x = (1,)\nfor i in range(60):\n    x = (x, x)\ny = {{x: 1}}',
    'shared tuples looked up': 'x = (1,)\nfor i in range(60):\n    x = (x, x)\ny = dict(a=1).get(x)',
    'shared tuples in a set': 'x = (1,)\nfor i in range(60):\n    x = (x, x)\ny = set([x])',
    'shared lists in the result': 'x = [1]\nfor i in range(60):\n    x = [x, x]',
    'shared dicts in the result': 'x = dict()\nfor i in range(60):\n    x = dict(a=x, b=x)',
    'list in itself': 'x = []\nx.append(x)',
    'dict in itself': 'x = dict()\nx.update(a=x)',
    'deep nesting': 'x = []\nfor i in range(5000):\n    x = [x]',
    'long name of a type': f'from mmdet.models import {"A" * 2000} as A\nx = len([A for i in range(100000)])',
    'long path of a type': f'import torch\nx = [torch.{"a" * 2000} for i in range(100000)]',
    'deep source': 'x = ' + '[' * 90 + ']' * 90 + '\ny = ' + '-' * 3000 + '1',
}


BOMBS_IN_BASES = {
    'base in itself': '_base_.a.b = _base_',
    'list in itself': '_base_.l.append(_base_.l)',
    'updated by itself': 'p = _base_.a\np.b = p\np.update(p)',
    'merged with itself': 'p = _base_.a\np.b = p\np.merge(p)',
    'doubled': 'p = _base_.a\nfor i in range(60):\n    p = dict(x=p, y=p)\n_base_.a = p',
    'doubled and updated': 'p = _base_.a\nfor i in range(60):\n    p = dict(x=p, y=p)\n_base_.a.update(p)',
    'grown': 'p = _base_.l\nfor i in range(60):\n    p += p',
    'wide merge': (
        'w = {str(i): 0 for i in range(5000)}\n_base_.a = {str(i): w for i in range(5000)}\n'
        '_base_.a.merge({str(i): dict(x=1) for i in range(5000)})'
    ),
}


@pytest.mark.parametrize('code', ESCAPES.values(), ids=ESCAPES)
def test_escapes_are_refused(code, tmp_path):
    canary = tmp_path / 'canary'
    config = tmp_path / 'config.py'
    config.write_text(code.format(canary=canary))
    modules, environment = set(sys.modules), dict(os.environ)
    with pytest.raises(UnsafeConfigError, match=r'config\.py:\d+: .*\n.*trust=True.*--trust-config'):
        Config.fromfile(config)
    assert not canary.exists()
    assert set(sys.modules) == modules and dict(os.environ) == environment


@pytest.mark.parametrize('code', BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused(code):
    with pytest.raises(ConfigError, match=r'<string>\.py'):
        Config.fromstring(code.format())


@pytest.mark.parametrize('code', BOMBS_IN_BASES.values(), ids=BOMBS_IN_BASES)
def test_bombs_in_bases_are_refused(code, tmp_path):
    (tmp_path / 'base.py').write_text('a = dict(b=1)\nl = [1]')
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = 'base.py'\n{code}")
    with pytest.raises(UnsafeConfigError, match=r'config\.py:\d'):
        Config.fromfile(config)


def test_refusal_shows_the_offending_line(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('a = 1\nmodel = dict(\n    depth=50,\n    width=open("x"))\n')
    with pytest.raises(UnsafeConfigError) as caught:
        Config.fromfile(config)
    assert f'{config}:4: width=open("x"))' in str(caught.value)
    assert "cannot call 'open'" in str(caught.value)


def test_dotted_type_of_a_hostile_config_is_not_called(tmp_path):
    from mmkit.registry import Registry

    canary = tmp_path / 'canary'
    cfg = Config.fromstring(f'model = dict(type="os.system", command="touch {canary}")')
    with pytest.raises(ValueError, match=r'os\.system'):
        Registry('model').build(cfg.model)
    assert not canary.exists()


def test_hostile_folder_name_is_only_text(tmp_path):
    folder = tmp_path / '" + open("x", "w") + "'
    folder.mkdir()
    config = folder / 'config.py'
    config.write_text('x = "{{ fileDirname }}"')
    with pytest.raises(ConfigError):
        Config.fromfile(config)


def test_yaml_tags_build_no_objects(tmp_path):
    canary = tmp_path / 'canary'
    with pytest.raises(ConfigError, match='could not determine a constructor'):
        Config.fromstring(f'a: !!python/object/apply:os.system ["touch {canary}"]', '.yaml')
    assert not canary.exists()


def test_yaml_aliases_do_not_explode():
    lines = ['a0: &a0 [x, x]'] + [f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}]' for i in range(1, 60)]
    with pytest.raises(ConfigError, match='more work'):
        Config.fromstring('\n'.join(lines), '.yaml')


@pytest.mark.parametrize('suffix', ['.py', '.yaml'])
def test_bases_do_not_multiply(tmp_path, suffix):
    equals = ' = ' if suffix == '.py' else ': '
    for i in range(5):
        names = ', '.join([f"'{i + 1}{suffix}'"] * 100)
        (tmp_path / f'{i}{suffix}').write_text(f'_base_{equals}[{names}]')
    (tmp_path / f'5{suffix}').write_text('')
    with pytest.raises(ConfigError, match='more work'):
        Config.fromfile(tmp_path / f'0{suffix}')


def test_trust_runs_the_file_as_python(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('import os\nx = os.path.join("a", "b")\nmodel = dict(\n    type="A", sep=os.sep)\n')
    cfg = Config.fromfile(config, trust=True)
    assert cfg == {'x': os.path.join('a', 'b'), 'model': {'type': 'A', 'sep': os.sep}}
    assert str(cfg.origin('model.sep')) == f'{config}:4'
