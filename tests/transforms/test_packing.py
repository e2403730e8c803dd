from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.errors import InvalidValueError
from mmkit.structures import Sample, UnlabelledSample
from mmkit.transforms import Compose, MultiBranch, PackDetInputs, RandomFlip, Resize

PACK = dict(type='PackDetInputs')


def test_everything_that_is_there_is_packed(make_sample):
    sample = PackDetInputs(('img_id', 'img_path'))(
        {**make_sample(ignored=[(0, 0, 9, 9)]), 'img_info': dict(id=5), 'proposals': np.ones((2, 5), np.float32)}
    )
    assert sample.img.shape == (3, 40, 60) and sample.img.dtype == torch.uint8 and sample.img.is_contiguous()
    assert sample.gt.bboxes.tolist() == [[10, 5, 30, 25]] and sample.gt.labels.tolist() == [0]
    assert sample.gt.masks.areas.tolist() == [400] and sample.ignored.tolist() == [[0, 0, 9, 9]]
    assert sample.gt_semantic_seg.shape == (1, 40, 60) and sample.gt_semantic_seg.dtype == torch.int64
    assert sample.proposals.scores.tolist() == [1, 1] and sample.meta.img_id == 5
    alone = PackDetInputs()(dict(img=np.zeros((4, 6, 3), np.float32)))
    assert alone.gt is alone.ignored is alone.proposals is alone.gt_semantic_seg is None
    assert alone.meta.pad_shape == (4, 6)


def test_unknown_meta_keys_are_refused():
    with pytest.raises(InvalidValueError, match="PackDetInputs: meta_keys has 'img_paths', did you mean 'img_path'"):
        PackDetInputs(['img_paths'])


def test_the_homography_leads_from_the_original_image_to_the_view(make_sample):
    chain = Compose([Resize((120, 80)), RandomFlip(1.0), PACK])
    moved = chain(make_sample(bboxes=[(10, 5, 30, 25)]))
    corners = np.array([[10, 5, 1], [30, 25, 1]]) @ moved.meta.homography_matrix.T
    assert moved.gt.bboxes.tolist() == [[60, 10, 100, 50]]
    assert corners[:, :2].tolist() == [[100, 10], [60, 50]]
    assert (PackDetInputs()(make_sample()).meta.homography_matrix == np.eye(3)).all()


def test_branches_of_a_semi_supervised_training(make_sample):
    fields = ['sup', 'unsup_teacher', 'unsup_student']
    labelled = MultiBranch(fields, sup=PACK)(make_sample())
    assert isinstance(labelled, Sample) and len(labelled.gt) == 1
    views = MultiBranch(
        fields,
        unsup_teacher=[dict(type='Resize', img_scale=(30, 20)), PACK],
        unsup_student=[dict(type='RandomFlip', flip_ratio=1.0), PACK],
    )(make_sample())
    assert isinstance(views, UnlabelledSample)
    assert views.teacher.img.shape == (3, 20, 30) and not views.teacher.meta.flip
    assert views.student.img.shape == (3, 40, 60) and views.student.meta.flip
    for wrong in (dict(), dict(unsup_teacher=[PACK]), dict(sup=PACK, unsup_teacher=[PACK], unsup_student=[PACK])):
        with pytest.raises(InvalidValueError, match='MultiBranch needs'):
            MultiBranch(fields, **wrong)
    with pytest.raises(InvalidValueError, match='branch_field'):
        MultiBranch(['weak'], sup=PACK)
