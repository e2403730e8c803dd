"""Changes to the bases from within a config, and bases in folders of other projects."""

import os

import pytest

from mmkit.config import Config, ConfigError, UnsafeConfigError

BASE = """steps = [dict(type='Load'), dict(type='Pack', keys=('a',))]
model = dict(type='Net', neck=dict(type='FPN', widths=[1, 2]), head=dict(type='Head'))
loader = dict(dataset=dict(pipeline=steps))
hooks = dict(save=dict(every=1))
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a config of the base above, given what follows `_base_`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'base.py').write_text(BASE)

    def read(text, trust=False):
        (tmp_path / 'top.py').write_text(f"_base_ = 'base.py'\n{text}\n")
        return Config.fromfile('top.py', trust=trust)

    return read


@pytest.mark.parametrize(
    ('text', 'path', 'value'),
    [
        ('_base_.hooks.save.every = 4', 'hooks', {'save': {'every': 4}}),
        ("_base_['hooks']['save']['every'] = 4", 'hooks', {'save': {'every': 4}}),
        ('_base_.hooks.save.every += 4', 'hooks', {'save': {'every': 5}}),
        ('_base_.hooks.load = dict(x=1)', 'hooks', {'save': {'every': 1}, 'load': {'x': 1}}),
        ('_base_.model.neck.widths[1] = 7', 'model.neck.widths', [1, 7]),
        ("s = _base_.steps\ns[-1]['keys'] = ('b',)", 'steps.1', {'type': 'Pack', 'keys': ('b',)}),
        ("s = _base_.steps[0]\ns.type = 'Read'", 'steps.0', {'type': 'Read'}),
        ("s = _base_.steps\ns.insert(1, dict(type='Flip'))\ns.pop()", 'steps', [{'type': 'Load'}, {'type': 'Flip'}]),
        ("_base_.steps.append(dict(type='Flip'))\ndel _base_.steps[:2]", 'steps', [{'type': 'Flip'}]),
        ('_base_.model.head.update(dict(classes=3), x=1)', 'model.head', {'type': 'Head', 'classes': 3, 'x': 1}),
        ("_base_.model.update(head=dict(x=1))\ndel _base_.model['neck']", 'model.head', {'type': 'Head', 'x': 1}),
        ('n = _base_.model.neck\n_base_.model.update(neck=dict(x=1))\nn.x += 1', 'model.neck.x', 2),
        ("_base_.model.update(neck=dict(_delete_=True, type='B'))", 'model.neck', {'type': 'B'}),
        ("_base_.model.merge(dict(neck=dict(_delete_=True, type='B')))", 'model.neck', {'type': 'B'}),
        ('_base_.update(hooks=dict(save=dict(at=2)))', 'hooks', {'save': {'every': 1, 'at': 2}}),
        ("m = _base_.model\nm.pop('neck')\nmodel = dict(head=dict(x=1))", 'model.head', {'type': 'Head', 'x': 1}),
        ('_base_.hooks.save = _base_.model.neck', 'hooks.save', {'type': 'FPN', 'widths': [1, 2]}),
    ],
)
def test_changes_of_the_bases_are_seen(read, text, path, value):
    cfg = read(text)
    for part in path.split('.'):
        cfg = cfg[int(part)] if part.isdigit() else cfg[part]
    assert cfg == value


@pytest.mark.parametrize('trust', [False, True])
def test_a_deleted_key_does_not_merge(read, trust):
    text = (
        "net = _base_.model\nnet.pop('neck')\ndel _base_.model, _base_.steps\nmodel = dict(type='Teacher', student=net)"
    )
    cfg = read('import math\n' + text if trust else text, trust)
    assert cfg.model == {'type': 'Teacher', 'student': {'type': 'Net', 'head': {'type': 'Head'}}}
    assert 'steps' not in cfg and cfg.net == cfg.model.student


def test_values_of_a_base_are_apart_from_each_other(read):
    cfg = read("_base_.steps[0].type = 'Read'")
    assert cfg.loader.dataset.pipeline[0].type == 'Load'


def test_a_dict_that_the_config_writes_is_one_of_python(read):
    cfg = read('x = dict(a=dict(b=1))\nx.update(a=dict(c=2))\n_base_.hooks.update(x)\n_base_.hooks.update(a=dict(d=3))')
    assert cfg.x.a == {'c': 2, 'd': 3} == cfg.hooks.a


def test_changes_keep_origins(read):
    cfg = read('_base_.hooks.save.every = 4\n_base_.model.update(\n  head=dict(x=1))\nd = _base_.model.neck\nd.y = 1')
    lines = {
        path: str(cfg.origin(path))
        for path in ('hooks.save.every', 'hooks.save', 'model.head.x', 'model.head.type', 'model.neck.y', 'd.type', 'd')
    }
    assert lines == {
        'hooks.save.every': 'top.py:2',
        'hooks.save': 'base.py:4',
        'model.head.x': 'top.py:4',
        'model.head.type': 'base.py:2',
        'model.neck.y': 'top.py:6',
        'd.type': 'base.py:2',
        'd': 'top.py:5',
    }
    assert cfg.d._locate('type') == 'd.type at base.py:2'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = _base_.modle', r"top\.py:2: .*\n.*no key 'modle' in _base_; the nearest: model"),
        ('x = _base_.model.nek.type', r"no key 'nek' in _base_\.model; the nearest: neck"),
        ('_base_.modle.type = 1', "no key 'modle' in _base_; the nearest: model"),
        ('del _base_.modle', r"top\.py:2: del _base_\.modle\n.*no key 'modle' in _base_; the nearest: model"),
        ("m = _base_.model\nm.pop('nek')", r"no key 'nek' in _base_\.model; the nearest: neck"),
        ('_base_.steps[5].type = 1', r'top\.py:2: .*\n.*list index out of range'),
    ],
)
def test_absent_values(read, text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


@pytest.mark.parametrize('text', ['_base_.steps.type = 1', '_base_.model.update = 1'])
def test_what_has_no_such_attribute(read, text):
    with pytest.raises(UnsafeConfigError, match='out of reach'):
        read(text)


# ---------------------------------------------------------------- scopes


def test_a_scope_is_a_given_folder(tmp_path, monkeypatch):
    (tmp_path / 'its' / 'sub').mkdir(parents=True)
    (tmp_path / 'its' / 'sub' / 'x.py').write_text(
        "steps = [dict(type='A', parts=[dict(type='B')])]\nloader = dict(size=1, data=dict(type='C', steps=steps))"
    )
    (tmp_path / 'top.py').write_text("_base_ = ['mmpretrain::sub/x.py']\nloader = dict(size=2)")
    other = f'{tmp_path}{os.pathsep}'.join(['mmdet=', 'mmpretrain='])
    monkeypatch.setenv('MMKIT_CONFIGS', f'{other}{tmp_path / "its"}')
    cfg = Config.fromfile(tmp_path / 'top.py')
    assert cfg == {
        'steps': [{'type': 'A', 'parts': [{'type': 'B'}], '_scope_': 'mmpretrain'}],
        'loader': {
            'size': 2,
            'data': {'type': 'C', 'steps': [{'type': 'A', 'parts': [{'type': 'B'}]}], '_scope_': 'mmpretrain'},
        },
    }
    assert Config.fromstring(cfg.pretty_text) == cfg


def test_mmdet_is_the_enclosing_folder_then_the_shipped_one(tmp_path):
    own = tmp_path / 'configs' / 'mine' / 'top.py'
    (tmp_path / 'configs' / 'common').mkdir(parents=True)
    own.parent.mkdir()
    (tmp_path / 'configs' / 'common' / 'x.py').write_text("a = dict(type='A')")
    own.write_text("_base_ = ['mmdet::common/x.py', 'mmdet::_base_/models/retinanet_r50_fpn.py']")
    cfg = Config.fromfile(own)
    assert cfg.a == {'type': 'A'} and cfg.model.type == 'RetinaNet'


def test_mmpretrain_has_some_shipped_files():
    cfg = Config.fromstring("_base_ = 'mmpretrain::_base_/default_runtime.py'")
    assert cfg.default_scope == 'mmpretrain' and cfg.default_hooks.timer._scope_ == 'mmpretrain'


def test_a_missing_file_of_a_scope_says_how_to_give_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MMKIT_CONFIGS', f'mmyolo={tmp_path}')
    message = rf'py:1: mmyolo::a/x\.py is not in {tmp_path} or .*variable MMKIT_CONFIGS=mmyolo=FOLDER'
    with pytest.raises(FileNotFoundError, match=message):
        Config.fromstring("_base_ = 'mmyolo::a/x.py'")
    monkeypatch.setenv('MMKIT_CONFIGS', str(tmp_path))
    with pytest.raises(ConfigError, match='MMKIT_CONFIGS is SCOPE=FOLDER'):
        Config.fromstring("_base_ = 'mmyolo::a/x.py'")


def test_a_wrong_folder_of_a_base_names_the_nearest(tmp_path):
    (tmp_path / 'models').mkdir()
    (tmp_path / 'top.py').write_text("_base_ = 'modles/x.py'")
    with pytest.raises(FileNotFoundError, match='the nearest in its folder: models'):
        Config.fromfile(tmp_path / 'top.py')
    (tmp_path / 'top.py').write_text("_base_ = './topp'")
    with pytest.raises(ConfigError, match=r'a config ends in one of .* \(a base at .*top\.py:1\).*nearest.*: top\.py'):
        Config.fromfile(tmp_path / 'top.py')


def test_environment_variables_need_trust(tmp_path, monkeypatch):
    monkeypatch.setenv('OWN_ROOT', '/data')
    text = "root = '{{$OWN_ROOT:data/}}'\nn = {{'$OWN_NUMBER:80'}}"
    with pytest.raises(UnsafeConfigError, match=r'py:1: \{\{\$OWN_ROOT:data/\}\}\n.*environment variable.*trust=True'):
        Config.fromstring(text)
    cfg = Config.fromstring(text, trust=True)
    assert cfg == {'root': '/data', 'n': 80}
    with pytest.raises(ConfigError, match='OWN_NUMBER is not set'):
        Config.fromstring("n = '{{$OWN_NUMBER:}}'", trust=True)
    assert Config.fromstring(Config(dict(a='{{$OWN_ROOT:x}}')).pretty_text) == {'a': '{{$OWN_ROOT:x}}'}
