import pytest

from mmkit.config import Config, ConfigError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace('__', '/').replace('_dot_', '.')
            path = path if path.suffix else path.with_suffix('.py')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_bases_merge_at_any_depth(write):
    write(
        sub__deep='a = 1\nm = dict(x=1, y=dict(z=[1, 2], w=3))',
        base="_base_ = 'sub/deep.py'\nm = dict(y=dict(z=[5]))\nb = 2",
        top="_base_ = ['./base.py']\nm = dict(y=dict(w=dict(v=1)))\na = None",
    )
    cfg = Config.fromfile('top.py')
    assert cfg == {'a': None, 'b': 2, 'm': {'x': 1, 'y': {'z': [5], 'w': {'v': 1}}}}
    origins = {path: str(cfg.origin(path)) for path in ('a', 'b', 'm.x', 'm.y.z', 'm.y.w', 'm.y.w.v')}
    assert origins == {
        'a': 'top.py:3',
        'b': 'base.py:3',
        'm.x': 'sub/deep.py:2',
        'm.y.z': 'base.py:2',
        'm.y.w': 'top.py:2',
        'm.y.w.v': 'top.py:2',
    }
    assert cfg.filename == 'top.py'
    assert cfg.text.index('# sub/deep.py') < cfg.text.index('# base.py') < cfg.text.index('# top.py')


def test_delete_replaces_and_never_stays(write):
    write(
        base='a = dict(x=1, y=dict(z=1))\nl = [1]',
        top="""_base_ = 'base.py'
a = dict(_delete_=True, v=2, y=dict(_delete_=True, w=1))
new = dict(_delete_=True, x=1)
l = [dict(_delete_=True, x=1)]
""",
        child="_base_ = 'top.py'\na = dict(_delete_=False, u=1)\nnew = dict(y=1)",
    )
    assert Config.fromfile('top.py') == {'a': {'v': 2, 'y': {'w': 1}}, 'new': {'x': 1}, 'l': [{'x': 1}]}
    assert Config.fromfile('child.py') == {
        'a': {'v': 2, 'y': {'w': 1}, 'u': 1},
        'new': {'x': 1, 'y': 1},
        'l': [{'x': 1}],
    }


def test_dicts_replace_what_is_no_dict_and_are_replaced(write):
    write(base='a = None\nb = dict(x=1)\nc = [1]', top="_base_ = 'base.py'\na = dict(x=1)\nb = None\nc = dict(y=1)")
    assert Config.fromfile('top.py') == {'a': {'x': 1}, 'b': None, 'c': {'y': 1}}


def test_two_bases_with_one_key_are_an_error(write):
    write(one='a = 1\nb = 1', two='b = 2', top="\n_base_ = ['one.py', 'two.py']")
    with pytest.raises(ConfigError, match=r"top\.py:2: two bases have the key 'b': one\.py and two\.py"):
        Config.fromfile('top.py')


@pytest.mark.parametrize('circle', ['a.py', 'b.py'])
def test_a_circle_of_bases_is_an_error(write, circle):
    write(a="_base_ = 'b.py'", b=f"_base_ = '{circle}'")
    with pytest.raises(ConfigError, match=f'circle: .*{circle} -> .*{circle}'):
        Config.fromfile('a.py')


def test_missing_files_name_the_nearest(write):
    write(faster_rcnn='', top="_base_ = 'fast_rcnn.py'")
    with pytest.raises(
        FileNotFoundError, match=r'fast_rcnn\.py does not exist \(a base at top\.py:1\); .*: faster_rcnn\.py'
    ):
        Config.fromfile('top.py')
    with pytest.raises(FileNotFoundError, match='nothing alike'):
        Config.fromfile('nowhere/x.py')


@pytest.mark.parametrize('value', ['5', '[1]', 'dict()', 'None'])
def test_base_is_a_path_or_paths(value):
    with pytest.raises(ConfigError, match=r'py:1: _base_ is a path or a list of paths, got'):
        Config.fromstring(f'_base_ = {value}')


def test_unknown_suffix():
    with pytest.raises(ConfigError, match=r'ends in one of \.py, \.yaml, \.yml, \.json'):
        Config.fromfile('config.toml')


def test_file_variables(write):
    folder = write(
        conf_dir__my='a = "{{ fileDirname }}/x"\nb = "{{fileBasename}}"\n'
        'c = "{{ fileBasenameNoExtension }}{{ fileExtname }}"'
    )
    expected = {'a': f'{folder}/conf_dir/x', 'b': 'my.py', 'c': 'my.py'}
    assert Config.fromfile('conf_dir/my.py') == expected
    write(my_dot_yaml='a: "{{ fileBasename }}"', my_dot_json='{"a": "{{ fileExtname }}"}')
    assert Config.fromfile('my.yaml') == {'a': 'my.yaml'} and Config.fromfile('my.json') == {'a': '.json'}


BASE = "a = dict(b=[dict(c=5)], n=None)\nword = 'w'\ntext = 'say {{ fileBasename }}'"


def test_values_of_bases_in_python(write):
    write(
        base=BASE,
        top="""_base_ = 'base.py'
x = {{_base_.a.b}}
y = {{ _base_.a.b.0.c }} + 1
z = '{{_base_.word}}', '<{{_base_.word}}{{_base_.a.b.0.c}}>', "{{_base_.a.n}}", f'{1}{{_base_.word}}'
w = _base_.a.b[0].c
x[0]['c'] = 6
""",
    )
    cfg = Config.fromfile('top.py')
    assert (cfg.x, cfg.y, cfg.z, cfg.w) == ([{'c': 6}], 6, ('w', '<w5>', None, '1w'), 5)
    assert cfg.a.b == [{'c': 5}] and cfg.text.count('say base.py') == 0 and cfg.get('text') == 'say base.py'


def test_values_of_bases_in_yaml_and_json(write):
    write(
        base=BASE,
        y_dot_yaml='_base_: base.py\nx: {{_base_.a.b}}\ny: [\'{{ _base_.word }}-\', "{{_base_.a}}"]',
        j_dot_json='{"_base_": ["base.py"],\n "x": {{_base_.a.b}},\n "y": ["{{ _base_.word }}-", {{_base_.a}}]}',
    )
    for name in ('y.yaml', 'j.json'):
        cfg = Config.fromfile(name)
        assert cfg.x == [{'c': 5}] and cfg.y == ['w-', {'b': [{'c': 5}], 'n': None}]
        assert str(cfg.origin('y')) == f'{name}:3' and str(cfg.origin('a.b')) == 'base.py:1'


@pytest.mark.parametrize('ref', ['{{_base_.a.bb}}', "'{{_base_.a.b.7}}'"])
def test_absent_values_of_bases(write, ref):
    write(base=BASE, top=f"_base_ = 'base.py'\nx = {ref}")
    with pytest.raises(ConfigError, match=r'(?s)top\.py:2: .*the bases of top\.py have no'):
        Config.fromfile('top.py')


def test_values_of_bases_before_the_base():
    with pytest.raises(ConfigError, match='before _base_ is set'):
        Config.fromstring('x = _base_.a')


def test_trusted_files_have_bases_too(write):
    write(
        base=BASE,
        top="""_base_ = 'base.py'
import math
def f():
    return 1
x = {{_base_.a.b}}
y = '{{_base_.word}}' * f()
b = dict(v=math.pi)
""",
    )
    cfg = Config.fromfile('top.py', trust=True)
    assert set(cfg) == {'a', 'word', 'text', 'x', 'y', 'b'} and cfg.x == [{'c': 5}] and cfg.y == 'w'
    assert str(cfg.origin('b.v')) == 'top.py:7' and str(cfg.origin('a.b')) == 'base.py:1'


def test_not_utf8(write):
    (write() / 'x.py').write_bytes(b'x = "\xff"')
    with pytest.raises(ConfigError, match=r'x\.py is not UTF-8'):
        Config.fromfile('x.py')
