import pytest

from mmkit.config import Config


@pytest.fixture
def cfg():
    return Config.fromstring(
        "model = dict(neck=dict(type='FPN', n=5), heads=[dict(n=80), dict(n=80)], pretrained=None)\n"
        'data = dict(train=dict(pipeline=[dict(type="A"), dict(type="B", scale=(1, 2))]), scales=((1, 2), (3, 4)))\n'
    )


def test_dotted_keys_and_indices(cfg):
    cfg.merge_from_dict(
        {
            'data.train.pipeline.1.scale': (512, 512),
            'model.heads.0.n': 10,
            'model.heads.-1.n': 11,
            'model.new.deep.key': 1,
            'model.pretrained.x': 2,
            'data.scales.1.0': 9,
            'top': [dict(a=1)],
        }
    )
    assert cfg.data.train.pipeline[1].scale == (512, 512) and [head.n for head in cfg.model.heads] == [10, 11]
    assert cfg.model.new.deep.key == 1 and cfg.model.pretrained.x == 2
    assert cfg.data.scales == ((1, 2), (9, 4)) and cfg.top[0].a == 1


def test_dicts_merge_and_delete(cfg):
    cfg.merge_from_dict({'model.neck': dict(n=6), 'model.heads': {'1': dict(m=2)}})
    assert cfg.model.neck == {'type': 'FPN', 'n': 6} and cfg.model.heads == [{'n': 80}, {'n': 80, 'm': 2}]
    cfg.merge_from_dict({'model.neck': dict(_delete_=True, type='PAFPN')})
    assert cfg.model.neck == {'type': 'PAFPN'}
    cfg.merge_from_dict({'model': dict(neck=dict(_delete_=True, x=1))})
    assert cfg.model.neck == {'x': 1} and cfg.model.heads[0] == {'n': 80}


def test_options_are_copied(cfg):
    value = [dict(a=1)]
    cfg.merge_from_dict({'x': value, 'y': value})
    cfg.x[0].a = 2
    assert value == [{'a': 1}] and cfg.y[0].a == 1


def test_origin_of_options(cfg):
    options = {'model.neck.type': 'PAFPN', 'model.heads.0': dict(k=1), 'model.a.b': 2}
    cfg.merge_from_dict(options, source='--cfg-options')
    assert str(cfg.origin('model.neck.type')) == '--cfg-options' == str(cfg.origin('model.heads.0.k'))
    assert str(cfg.origin('model.neck.n')) == '<string>.py:1' == str(cfg.origin('model.heads.0.n'))
    assert cfg.model.neck._locate('type') == 'model.neck.type at --cfg-options'
    assert cfg.model.heads[0]._locate('k') == 'model.heads.0.k at --cfg-options'
    assert cfg.model.a._locate('b') == 'model.a.b at --cfg-options'


@pytest.mark.parametrize(
    ('key', 'error', 'message'),
    [
        ('model.heads.2.n', IndexError, "'model.heads.2.n': index 2 is outside the list of 2"),
        ('model.heads.-3.n', IndexError, 'index -3 is outside the list of 2'),
        ('model.heads.2', IndexError, 'index 2 is outside'),
        ('data.scales.0.2', IndexError, 'index 2 is outside'),
        ('model.heads.n', TypeError, "'n' is not an index, but there is a list of 2"),
        ('model.neck.n.x', TypeError, "'x' would be set inside 5"),
    ],
)
def test_keys_that_lead_nowhere(cfg, key, error, message):
    with pytest.raises(error, match=message):
        cfg.merge_from_dict({key: 1})


def test_origin_of_absent_keys(cfg):
    with pytest.raises(KeyError, match='the nearest: neck'):
        cfg.origin('model.nek.type')
    with pytest.raises(KeyError, match="'x' is looked for in a int"):
        cfg.origin('model.neck.n.x')
    with pytest.raises(IndexError):
        cfg.origin('model.heads.5')
    assert str(cfg.origin('data.scales.0.1')) == '<string>.py:2'
