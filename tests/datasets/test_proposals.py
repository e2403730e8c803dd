from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from mmkit.datasets.proposals import load_proposals


def test_a_list_of_arrays_as_mmdetection_pickles_it(tmp_path):
    arrays = [np.array([[0, 0, 5, 5, 0.9]], np.float32), np.zeros((0, 5), np.float64)]
    for protocol in (2, 4, 5):
        (tmp_path / 'p.pkl').write_bytes(pickle.dumps(arrays, protocol))
        loaded = load_proposals(tmp_path / 'p.pkl', ['a', 'b'])
        assert np.array_equal(loaded[0], arrays[0]) and loaded[0].dtype == np.float32
        assert loaded[1].shape == (0, 5) and loaded[1].dtype == np.float32


def test_coco_results_are_sorted_into_images(tmp_path, write_json):
    boxes = [
        dict(image_id=2, bbox=[1, 2, 3, 4], score=0.1, category_id=1),
        dict(image_id=2, bbox=[0, 0, 5, 5], score=0.7, category_id=1),
        dict(image_id=9, bbox=[0, 0, 5, 5], score=0.7, category_id=1),
    ]
    loaded = load_proposals(write_json(boxes), [1, 2])
    assert loaded[0].shape == (0, 5)
    assert loaded[1][:, 2].tolist() == [5, 4]


class Evil:
    def __reduce__(self):
        return os.mkdir, ('executed',)


def test_a_pickle_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(ValueError, match=r'p\.pkl is not a pickle of numpy arrays alone.*mkdir'):
        load_proposals('p.pkl', ['a'])
    assert not (tmp_path / 'executed').exists()


def test_other_files_are_refused(tmp_path):
    (tmp_path / 'p.txt').write_text('')
    with pytest.raises(ValueError, match=r'\.json or \.pkl'):
        load_proposals(tmp_path / 'p.txt', [])
    with pytest.raises(FileNotFoundError, match=r'p\.json'):
        load_proposals(tmp_path / 'p.json', [])
