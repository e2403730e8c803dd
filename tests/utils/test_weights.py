from __future__ import annotations

import os
import sys
from collections import OrderedDict, deque

import numpy as np
import pytest
import torch

from mmkit.utils import weights


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('MMKIT_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home'


class Statistics:
    """Stands for a class of somebody else's toolbox whose objects were saved next to the weights."""

    def __init__(self):
        self.values = deque([1.0], maxlen=3)
        self.method = Settings.get


class Settings(dict):
    def __init__(self, *args):
        assert not args, 'made by the unpickler'


class Attack:
    def __init__(self, function, argument):
        self.call = (function, (argument,))

    def __reduce__(self):
        return self.call


def test_paths(tmp_path):
    (tmp_path / 'a.pth').touch()
    assert weights.resolve(tmp_path / 'a.pth') == tmp_path / 'a.pth'
    with pytest.raises(FileNotFoundError, match=r'no file .*b\.pth; in .* there are a\.pth'):
        weights.resolve(str(tmp_path / 'b.pth'))


def test_torchvision_names(home, monkeypatch):
    asked = []
    monkeypatch.setattr(weights, 'download', lambda url, directory: asked.append((url, directory)))
    for name in ('resnet50', 'resnet50.imagenet1k_v2', 'vgg16_bn', 'mobilenet_v2'):
        weights.resolve(f'torchvision://{name}')
    hashes = [url.rpartition('-')[2] for url, _ in asked]
    assert hashes == ['0676ba61.pth', '11ad3fa6.pth', '6c64b313.pth', 'b0353104.pth']
    assert {directory for _, directory in asked} == {home / 'checkpoints'}


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('torchvision://resnet51', "no model 'resnet51', the nearest are resnet50"),
        ('torchvision://resnet50.v3', "resnet50 comes with imagenet1k_v1, imagenet1k_v2, not 'v3'"),
        ('s3://bucket/a.pth', "scheme 's3' is unknown"),
    ],
)
def test_unknown_names(source, message):
    with pytest.raises(ValueError, match=message):
        weights.resolve(source)


def test_schemes_of_the_lost_server(home):
    place = home / 'checkpoints' / 'detectron2' / 'resnet50_caffe.pth'
    with pytest.raises(FileNotFoundError, match=f'server .* no longer exists.*put it at {place}'):
        weights.resolve('open-mmlab://detectron2/resnet50_caffe')
    place.parent.mkdir(parents=True)
    place.touch()
    assert weights.resolve('open-mmlab://detectron2/resnet50_caffe') == place


@pytest.mark.parametrize('zipped', [True, False])
class TestRead:
    def save(self, path, zipped, **meta):
        content = {'meta': meta, 'state_dict': OrderedDict(w=torch.ones(2))}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)

    def test_numpy_in_meta(self, tmp_path, zipped):
        meta = {
            'number': np.float64(0.5),
            'count': np.int64(4),
            'flag': np.bool_(True),
            'array': np.arange(3),
            'words': np.array(['a', 'bc']),
        }
        self.save(tmp_path / 'a.pth', zipped, **meta)
        read = weights.read_weights(tmp_path / 'a.pth')
        assert read['state_dict']['w'].tolist() == [1, 1]
        assert {name: np.asarray(value).tolist() for name, value in read['meta'].items()} == {
            name: np.asarray(value).tolist() for name, value in meta.items()
        }

    def test_foreign_classes_become_empty_dicts(self, tmp_path, zipped, caplog):
        self.save(tmp_path / 'a.pth', zipped, statistics=Statistics(), settings=Settings(), epoch=3)
        read = weights.read_weights(tmp_path / 'a.pth')
        assert read['meta'] == {'statistics': {}, 'settings': {}, 'epoch': 3}
        assert read['state_dict']['w'].tolist() == [1, 1]
        assert 'Statistics' in caplog.text

    @pytest.mark.parametrize('function', [exec, eval, os.system, os.mkdir, __import__])
    def test_nothing_is_run(self, tmp_path, zipped, function):
        mark = tmp_path / 'mark'
        argument = {os.system: f'touch {mark}', os.mkdir: str(mark), __import__: 'antigravity'}.get(
            function, f'__import__("pathlib").Path({str(mark)!r}).touch()'
        )
        self.save(tmp_path / 'a.pth', zipped, bad=Attack(function, argument))
        try:
            weights.read_weights(tmp_path / 'a.pth')
        except ValueError as error:
            assert 'without running code from it (it uses posix.' in str(error)
        assert not mark.exists()
        assert 'antigravity' not in sys.modules

    def test_broken(self, tmp_path, zipped):
        self.save(tmp_path / 'a.pth', zipped)
        whole = (tmp_path / 'a.pth').read_bytes()
        (tmp_path / 'a.pth').write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r'a\.pth .* is not a complete file'):
            weights.read_weights(tmp_path / 'a.pth')

    def test_not_a_dict(self, tmp_path, zipped):
        torch.save([1], tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match='holds a list, expected a dict'):
            weights.read_weights(tmp_path / 'a.pth')


@pytest.mark.parametrize('content', [b'', b'hello', b'<html>not found</html>'])
def test_not_a_weight_file(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(ValueError, match=rf'a\.pth \({len(content)} bytes\) is not a complete file'):
        weights.read_weights(tmp_path / 'a.pth')


def test_a_whole_pickled_model(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'is not a dict of tensors, but an object of .*linear\.Linear'):
        weights.read_weights(tmp_path / 'a.pth')
