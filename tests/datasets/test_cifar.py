from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from mmkit.datasets import CIFAR10, CIFAR100, build_dataset

PIPELINE = [
    dict(type='RandomFlip', flip_prob=0.5),
    dict(type='Normalize', mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label']),
]


def write(path, **content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def archive(tmp_path):
    """CIFAR-10 with two images a file: red in the first quarter of the pixels, green everywhere, no blue."""
    pixels = np.zeros((2, 3, 32, 32), np.uint8)
    pixels[:, 0, :8] = 200
    pixels[:, 1] = 50
    folder = tmp_path / 'cifar-10-batches-py'
    for number, name in enumerate([*(f'data_batch_{n}' for n in range(1, 6)), 'test_batch']):
        write(folder / name, data=pixels.reshape(2, -1), labels=[number, 9], filenames=['a.png', 'b.png'])
    write(folder / 'batches.meta', label_names=[f'class {n}' for n in range(10)], num_vis=3072)
    return tmp_path


def test_images_and_labels(archive):
    train = build_dataset(dict(type='CIFAR10', data_prefix=str(archive), pipeline=PIPELINE))
    assert len(train) == 10 and train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert train.CLASSES[3] == 'class 3'
    sample = train[2]
    assert sample.img.shape == (3, 32, 32) and int(sample.gt_label) == 1
    assert sample.img[0, :8].unique().tolist() == [200] and sample.img[0, 8:].unique().tolist() == [0]
    assert sample.img[1].unique().tolist() == [50] and sample.img[2].unique().tolist() == [0]
    assert sample.meta.ori_shape == (32, 32)
    test = CIFAR10(str(archive), PIPELINE, classes=[f'name {n}' for n in range(10)], test_mode=True)
    assert test.labels.tolist() == [5, 9] and test.CLASSES[0] == 'name 0'


def test_cifar100(tmp_path):
    folder = tmp_path / 'cifar-100-python'
    for name, labels in (('train', [99, 3]), ('test', [1, 2])):
        write(folder / name, data=np.zeros((2, 3072), np.uint8), fine_labels=labels, coarse_labels=[0, 0])
    write(folder / 'meta', fine_label_names=[str(n) for n in range(100)], coarse_label_names=['x'])
    assert CIFAR100(str(tmp_path), PIPELINE).labels.tolist() == [99, 3]
    assert CIFAR100(str(tmp_path), PIPELINE, test_mode=True).labels.tolist() == [1, 2]


def test_files_that_are_missing_or_something_else(archive):
    folder = archive / 'cifar-10-batches-py'
    with pytest.raises(ValueError, match='10 classes, got 2 names'):
        CIFAR10(str(archive), PIPELINE, ('cat', 'dog'))
    write(folder / 'data_batch_1', data=np.zeros((2, 7), np.uint8), labels=[0, 1])
    with pytest.raises(ValueError, match=r'data_batch_1: data is uint8 \(2, 7\), expected uint8 \(2, 3072\)'):
        CIFAR10(str(archive), PIPELINE)
    write(folder / 'data_batch_1', data=np.zeros((2, 3072), np.uint8))
    with pytest.raises(ValueError, match=r'data_batch_1 lacks some of .*labels'):
        CIFAR10(str(archive), PIPELINE)
    (folder / 'data_batch_1').unlink()
    with pytest.raises(FileNotFoundError, match=rf'data_batch_1: unpack cifar-10-python\.tar\.gz in {archive} \('):
        CIFAR10(str(archive), PIPELINE)
    with pytest.raises(FileNotFoundError, match=r'unpack cifar-100-python\.tar\.gz'):
        CIFAR100(str(archive), PIPELINE)


class Evil:
    def __reduce__(self):
        return os.mkdir, ('executed',)


def test_nothing_is_executed(archive, monkeypatch):
    monkeypatch.chdir(archive)
    write(archive / 'cifar-10-batches-py' / 'data_batch_3', data=Evil(), labels=[])
    with pytest.raises(ValueError, match=r'data_batch_3 is not a pickle of numpy arrays alone'):
        CIFAR10(str(archive), PIPELINE)
    assert not (archive / 'executed').exists()
