import copy
import pickle

import addict
import pytest

from mmkit.config import Config, ConfigDict

TEXT = """model = dict(
    type='A',
    neck=dict(type='FPN', outs=[dict(a=1), (dict(b=2), 3)]),
)
"""


@pytest.fixture
def cfg():
    return Config.fromstring(TEXT)


def test_attributes_and_items_are_one(cfg):
    assert cfg.model.neck.type == cfg['model']['neck']['type'] == 'FPN'
    cfg.model.neck.type = 'PAFPN'
    assert cfg['model']['neck']['type'] == 'PAFPN'
    del cfg.model.neck.type
    assert 'type' not in cfg.model.neck and len(cfg.model.neck) == 1 and list(cfg) == ['model']
    assert cfg.get('absent', 5) == 5 and getattr(cfg, 'absent', 6) == 6 and not hasattr(cfg, 'absent')


def test_dicts_inside_lists_and_tuples_have_attributes(cfg):
    assert cfg.model.neck.outs[0].a == 1 and cfg.model.neck.outs[1][0].b == 2


def test_equals_a_plain_dict(cfg):
    plain = {'model': {'type': 'A', 'neck': {'type': 'FPN', 'outs': [{'a': 1}, ({'b': 2}, 3)]}}}
    assert cfg == plain and plain == cfg and ConfigDict(plain) == cfg


@pytest.mark.parametrize('way', ['item', 'attribute', 'update', 'setdefault', 'or', 'in place or'])
def test_what_is_set_becomes_a_config_dict(way):
    cfg = ConfigDict()
    new = {'x': [{'y': 1}]}
    if way == 'item':
        cfg['new'] = new
    elif way == 'attribute':
        cfg.new = new
    elif way == 'update':
        cfg.update(new=new)
    elif way == 'setdefault':
        assert cfg.setdefault('new', new).x[0].y == 1
        assert cfg.setdefault('new', 2).x[0].y == 1
    elif way == 'or':
        cfg = cfg | {'new': new}
    else:
        cfg |= {'new': new}
    assert cfg.new.x[0].y == 1 and type(cfg) is ConfigDict
    assert type(new['x'][0]) is dict  # the caller's dict stays as it is


def test_missing_key_names_the_nearest(cfg):
    with pytest.raises(AttributeError, match="no key 'nek' in model; the nearest: neck"):
        _ = cfg.model.nek
    with pytest.raises(KeyError, match="no key 'nek' in model; the nearest: neck"):
        cfg.model['nek']
    with pytest.raises(AttributeError, match=r"no key 'zzz' in model.neck; it has: type, outs"):
        _ = cfg.model.neck.zzz
    with pytest.raises(AttributeError, match='the nearest: neck'):
        del cfg.model.nek


def test_methods_are_not_overwritten_by_keys():
    cfg = ConfigDict(items=3)
    assert cfg['items'] == 3 and callable(cfg.items)
    with pytest.raises(AttributeError, match=r"cfg\['items'\]"):
        cfg.items = 4


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)), copy.copy, Config.copy])
def test_copies_keep_everything(cfg, duplicate):
    twin = duplicate(cfg)
    assert twin == cfg and type(twin) is Config and twin.text == cfg.text
    assert twin.origin('model.neck.type') == cfg.origin('model.neck.type') == ('<string>.py', 3)
    assert twin.model.neck._locate('type') == 'model.neck.type at <string>.py:3'
    twin.new = 1
    assert 'new' not in cfg


def test_deep_copy_shares_nothing_but_keeps_what_was_shared():
    part = ConfigDict(a=[1])
    twin = copy.deepcopy(ConfigDict(x=part, y=part))
    assert twin.x is twin.y and twin.x is not part and twin.x.a is not part.a


def test_a_value_that_a_script_sets_has_a_path_and_no_line(cfg):
    cfg.model.neck.type = 'PAFPN'
    assert str(cfg.origin('model.neck.type')) == '<code>' and str(cfg.origin('model.type')) == '<string>.py:2'
    cfg.model.head = dict(parts=[dict(type='B')])
    assert cfg.model.head.parts[0]._locate('type') == 'model.head.parts.0.type at <code>'
    cfg.model.update(neck=dict(num=3))
    assert cfg.model.neck._locate('num') == 'model.neck.num at <code>'
    assert ConfigDict(type='A')._locate('type') == 'type'


def test_origin_follows_update(cfg):
    other = ConfigDict()
    other.update(cfg.model)
    assert other._locate('type') == 'type at <string>.py:2'
    assert (ConfigDict(type='X') | cfg.model)._locate('type') == 'type at <string>.py:2'


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A config whose nested values stem from two files and an option."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'base.py').write_text(
        "pipeline = [\n    dict(type='Load'),\n    dict(type='Resize', img_scale=(1, 2))]\n"
        "data = dict(\n    train=dict(\n        type='Repeat',\n        dataset=dict(\n            type='Coco',\n"
        "            ann_file='a.json',\n            pipeline=pipeline)),\n    empty=dict())\n"
    )
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'base.py'\npipeline = [\n    dict(type='Load'),\n    dict(type='Resize',\n         img_scale='x')]\n"
        'data = dict(train=dict(\n    dataset=dict(pipeline=pipeline)))\n'
    )
    cfg = Config.fromfile('mine.py')
    cfg.merge_from_dict({'data.train.dataset.ann_file': 5, 'data.train.dataset.pipeline.0.n': 1}, '--cfg-options')
    return cfg


def test_origin_of_nested_paths(written):
    dataset = written.data.train.dataset
    assert dataset._locate('ann_file') == 'data.train.dataset.ann_file at --cfg-options'
    assert dataset._locate('type') == 'data.train.dataset.type at base.py:8'
    assert dataset.pipeline[1]._locate('img_scale') == 'data.train.dataset.pipeline.1.img_scale at mine.py:5'
    assert written._locate('data.train.dataset.pipeline.1.img_scale') == dataset.pipeline[1]._locate('img_scale')
    assert written._locate('data.train.dataset.pipeline.0.n') == 'data.train.dataset.pipeline.0.n at --cfg-options'
    assert dataset._locate('pipeline.1.img_scale.0') == 'data.train.dataset.pipeline.1.img_scale.0 at mine.py:5'


def test_a_missing_key_is_located_by_the_dict_around_it(written):
    train = written.data.train
    assert train._locate('times') == 'data.train.times at mine.py:7, base.py:6'
    assert train._locate() == 'data.train at mine.py:7, base.py:6'
    assert written._locate('data.train.dataset.prefix.img') == (
        'data.train.dataset.prefix.img at mine.py:7, base.py:8, --cfg-options'
    )
    assert written.data.empty._locate('type') == 'data.empty.type at base.py:11'
    assert train.dataset.pipeline[1]._locate('ratio') == 'data.train.dataset.pipeline.1.ratio at mine.py:4-5'


def test_options_inside_a_list_are_the_origin_of_the_list(written):
    written.merge_from_dict({'data.train.dataset.pipeline.1.img_scale': [1, 2]}, 'base')
    written.merge_from_dict({'data.train.dataset.pipeline.1.img_scale.0': 'text'}, '--cfg-options')
    resize = written.data.train.dataset.pipeline[1]
    assert resize.img_scale == ['text', 2]
    assert resize._locate('img_scale') == 'data.train.dataset.pipeline.1.img_scale at --cfg-options'
    assert written.data.train._locate('dataset') == 'data.train.dataset at mine.py:7'


def test_is_a_dict_of_addict(cfg):
    assert isinstance(cfg, addict.Dict) and isinstance(cfg.model.neck.outs[1][0], addict.Dict)
    plain = cfg.to_dict()
    assert plain == cfg and type(plain) is dict and type(plain['model']['neck']) is dict
    assert type(plain['model']['neck']['outs'][1][0]) is dict
    twin = cfg.deepcopy()
    assert twin == cfg and type(twin) is Config and twin.model is not cfg.model
    cfg.model.freeze()
    with pytest.raises(KeyError):
        cfg.model.neck.new = 1
    cfg.model.unfreeze()
    cfg.model.neck.new = 1


def test_update_merges_dicts_as_that_of_addict_does(cfg):
    ours, theirs = ConfigDict(cfg.to_dict()), addict.Dict(cfg.to_dict())
    for change in ({'model': {'neck': {'new': 1}}, 'x': {'y': 2}}, [('x', {'z': 3})], {'model': 5}):
        assert (ours | dict(change)) == (theirs | dict(change)) and (dict(change) | ours) == (dict(change) | theirs)
        ours.update(change)
        theirs.update(change)
        assert ours == theirs
    assert type(dict(a=1) | ours) is ConfigDict


def test_repr_is_that_of_a_dict(cfg):
    assert repr(cfg.model.neck.outs[0]) == "{'a': 1}"
    assert repr(cfg).startswith('Config(None): {')
