from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.structures import Sample
from mmkit.transforms import Collect, DefaultFormatBundle, ImageToTensor, ToDataContainer, ToTensor, Transpose

KEYS = ['img', 'gt_bboxes', 'gt_labels', 'gt_masks', 'gt_bboxes_ignore', 'gt_semantic_seg']


def test_a_bundle_and_its_sample(make_sample):
    bundle = DefaultFormatBundle(pad_val=dict(img=7, seg=9))
    sample = Collect(KEYS)(bundle({**make_sample(ignored=[(0, 0, 9, 9)]), 'img_info': dict(id=5), 'filename': 'x'}))
    assert isinstance(sample, Sample)
    assert sample.img.shape == (3, 40, 60) and sample.img.dtype == torch.float32 and sample.img.is_contiguous()
    assert sample.gt.bboxes.tolist() == [[10, 5, 30, 25]] and sample.gt.labels.dtype == torch.int64
    assert sample.gt.masks.areas.tolist() == [400]
    assert sample.ignored.tolist() == [[0, 0, 9, 9]]
    assert sample.gt_semantic_seg.shape == (1, 40, 60) and sample.gt_semantic_seg.dtype == torch.int64
    assert (sample.img_pad, sample.seg_pad) == (7, 9)
    assert sample.meta.img_id == 5 and sample.meta.filename == 'x'


def test_meta_without_any_step_before(make_sample):
    meta = Collect(['img'])(DefaultFormatBundle()(make_sample())).meta
    assert meta.ori_shape == meta.img_shape == meta.pad_shape == (40, 60)
    assert meta.scale_factor.tolist() == [1] * 4 and not meta.flip and meta.flip_direction is None
    assert meta.img_norm_cfg is None


def test_uint8_stays_if_wanted_and_masks_are_not_filled_up(make_sample):
    assert DefaultFormatBundle(img_to_float=False)(make_sample())['img'].dtype == torch.uint8
    for pad_val in (dict(masks=1), dict(image=1)):
        with pytest.raises(ValueError, match='pad_val'):
            DefaultFormatBundle(pad_val=pad_val)


def test_collect_of_a_test_pipeline_with_proposals():
    sample = dict(img=np.zeros((4, 6), np.uint8), proposals=np.array([[0, 0, 2, 2, 0.5]], np.float32))
    sample = ToTensor(['proposals'])(ImageToTensor(['img'])(sample))
    sample = ToDataContainer([dict(key='proposals', stack=False)])(sample)
    collected = Collect(keys=['img', 'proposals'])(sample)
    assert collected.img.shape == (1, 4, 6)
    assert collected.proposals.bboxes.tolist() == [[0, 0, 2, 2]] and collected.proposals.scores.tolist() == [0.5]
    assert collected.gt is None and collected.ignored is None


def test_collect_says_what_is_wrong(make_sample):
    for arguments, message in (
        (dict(keys=['img', 'gt_boxes']), "'gt_boxes', did you mean 'gt_bboxes'"),
        (dict(keys=['img'], meta_keys=('img_nrm_cfg',)), "meta_keys has 'img_nrm_cfg', did you mean 'img_norm_cfg'"),
        (dict(keys=['gt_bboxes']), "lack 'img'"),
        (dict(keys=['img', 'gt_labels']), "lack 'gt_bboxes'"),
    ):
        with pytest.raises(ValueError, match=message):
            Collect(**arguments)
    with pytest.raises(KeyError, match='proposals'):
        Collect(['img', 'proposals'])(DefaultFormatBundle()(make_sample()))
    with pytest.raises(ValueError, match=r'\(40, 60, 3\): is ImageToTensor or DefaultFormatBundle missing'):
        Collect(['img'])(make_sample())
    assert Collect(['img'], meta_keys=['filename', 'img_id'])(DefaultFormatBundle()(make_sample())).meta.img_id == -1


def test_data_containers_are_checked_and_nothing_else():
    assert ToDataContainer()(dict.fromkeys(('img', 'gt_bboxes', 'gt_labels'), 1))['img'] == 1
    with pytest.raises(KeyError, match='gt_labels'):
        ToDataContainer()(dict(img=1, gt_bboxes=1))
    with pytest.raises(ValueError, match='another layout'):
        ToDataContainer([dict(key='gt_bboxes', stack=True)])
    with pytest.raises(ValueError, match='another layout'):
        ToDataContainer([dict(key='img')])


def test_transpose():
    assert Transpose(['img'], (2, 0, 1))(dict(img=np.zeros((4, 6, 3))))['img'].shape == (3, 4, 6)
