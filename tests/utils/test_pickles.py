from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from mmkit.utils.pickles import load_arrays


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_in_plain_containers(tmp_path, protocol):
    content = OrderedDict(a=[np.arange(6, dtype=np.uint8).reshape(2, 3), np.float32(0.5)], b=('x', b'\xff', 1, None))
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(content, protocol))
    loaded = load_arrays(tmp_path / 'a.pkl')
    assert np.array_equal(loaded['a'][0], content['a'][0]) and loaded['a'][0].dtype == np.uint8
    assert loaded['a'][1] == 0.5 and loaded['b'] == content['b']


class Evil:
    def __reduce__(self):
        return os.mkdir, ('executed',)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps({'data': Evil()}))
    with pytest.raises(ValueError, match=r'a\.pkl is not a pickle of numpy arrays alone.*asks for .*mkdir'):
        load_arrays('a.pkl')
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('content', [b'', b'no pickle', pickle.dumps(np.zeros(9))[:-5]])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / 'a.pkl').write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.pkl'):
        load_arrays(tmp_path / 'a.pkl')
