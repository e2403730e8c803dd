import copy
import pickle

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


def test_a_value_set_anew_has_no_origin_but_a_path(cfg):
    cfg.model.neck.type = 'PAFPN'
    assert cfg.origin('model.neck.type') is None and str(cfg.origin('model.type')) == '<string>.py:2'
    assert cfg.model.neck._locate('type') == 'model.neck.type'
    cfg.model.head = dict(parts=[dict(type='B')])
    assert cfg.model.head.parts[0]._locate('type') == 'model.head.parts.0.type'


def test_origin_follows_update(cfg):
    other = ConfigDict()
    other.update(cfg.model)
    assert other._locate('type') == 'type at <string>.py:2'


def test_repr_is_that_of_a_dict(cfg):
    assert repr(cfg.model.neck.outs[0]) == "{'a': 1}"
    assert repr(cfg).startswith('Config(None): {')
