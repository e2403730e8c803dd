from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from mmkit.datasets import collate
from mmkit.structures import Batch, ImageMeta, Instances, Sample, SemiBatch, UnlabelledSample


def make_sample(name, size, labelled=True):
    meta = ImageMeta(name, name, 0, size, size, size, np.ones(4, np.float32), homography_matrix=np.eye(3))
    gt = Instances(torch.ones(1, 4), torch.zeros(1, dtype=torch.long)) if labelled else None
    return Sample(torch.ones(3, *size), meta, gt=gt)


def make_unlabelled(name, teacher, student):
    return UnlabelledSample(make_sample(name, teacher, False), make_sample(name, student, False))


def test_unlabelled_images_travel_beside_labelled_ones():
    samples = [
        make_unlabelled('b', (4, 4), (2, 6)),
        make_sample('a', (3, 5)),
        make_unlabelled('c', (5, 2), (3, 3)),
    ]
    batch = collate(samples)
    assert isinstance(batch, SemiBatch) and len(batch) == 1
    assert batch.imgs.shape == (1, 3, 3, 5) and len(batch.gts) == 1
    assert batch.teacher.imgs.shape == (2, 3, 5, 4) and batch.student.imgs.shape == (2, 3, 3, 6)
    assert [meta.filename for meta in batch.teacher.metas] == ['b', 'c']
    assert batch.filenames == ['a', 'b', 'c']
    assert batch.student.gts is None

    moved = batch.to('meta')
    assert isinstance(moved, SemiBatch)
    assert {each.imgs.device.type for each in (moved, moved.teacher, moved.student)} == {'meta'}
    assert [tuple(leaf.shape) for leaf in pytree.tree_leaves(batch)] == [
        *((1, 3, 3, 5), (1, 4), (1,)),
        *((2, 3, 5, 4), (2, 3, 3, 6)),
    ]


def test_without_labelled_images_their_part_is_empty():
    batch = collate([make_unlabelled('b', (4, 4), (2, 6))])
    assert len(batch) == 0 and batch.imgs.shape == (0, 3, 2, 6) and batch.gts is None


def test_without_unlabelled_images_it_is_a_batch():
    assert type(collate([make_sample('a', (3, 5))])) is Batch


def test_something_else():
    with pytest.raises(TypeError, match='a pipeline must end with Collect'):
        collate([UnlabelledSample(None, None)])
