from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.errors import InvalidValueError
from mmkit.models import build_detector
from mmkit.models.batch_augments import BatchFixedSizePad, BatchResize, BatchSyncRandomResize
from mmkit.models.preprocessor import DetDataPreprocessor, MultiBranchDataPreprocessor
from mmkit.protocols import Progress, TracksProgress
from mmkit.structures import Batch, BitmapMasks, ImageMeta, Instances, SemiBatch
from tests.models.test_preprocessor import RETINANET, batch_of


def truth_batch(height=40, width=60, value=10):
    meta = ImageMeta('', '', 0, (height, width), (height, width), (height, width), np.ones(4, np.float32))
    masks = BitmapMasks(np.ones((1, height, width), np.uint8), height, width)
    gt = Instances(torch.tensor([[4.0, 8, 20, 30]]), torch.tensor([1]), masks=masks)
    seg = torch.ones(1, 1, height, width, dtype=torch.int64)
    imgs = torch.full((1, 3, height, width), value, dtype=torch.uint8)
    return Batch(imgs, [meta], gts=[gt], ignored=[torch.ones(1, 4)], gt_semantic_seg=seg)


def test_truth_is_padded_with_the_images():
    preprocess = DetDataPreprocessor(
        pad_size_divisor=32, pad_value=3, pad_mask=True, pad_seg=True, seg_pad_value=7, mask_pad_value=1
    )
    made = preprocess(truth_batch())
    assert made.imgs.shape == (1, 3, 64, 64) and made.imgs[0, 0, -1, -1] == 3 and made.imgs[0, 0, 0, 0] == 10
    assert (made.gts[0].masks.height, made.gts[0].masks.width) == (64, 64) and made.gts[0].masks.areas == [64 * 64]
    assert made.gt_semantic_seg.shape == (1, 1, 64, 64) and made.gt_semantic_seg[0, 0, -1, 0] == 7
    assert preprocess.eval()(truth_batch()).gts[0].masks.height == 40
    plain = DetDataPreprocessor(pad_size_divisor=32)(truth_batch())
    assert plain.gts[0].masks.height == 40 and plain.gt_semantic_seg.shape[-1] == 60


def test_without_a_normalisation_padding_has_its_value_too():
    raw = batch_of((5, 6), (4, 9))
    made = DetDataPreprocessor(pad_value=114)(raw)
    assert made.imgs[0, 0, 0].tolist() == [30] * 6 + [114] * 3 and (made.imgs[1, :, 4] == 114).all()
    assert (raw.imgs[0, 0] == 30).all()


def test_a_fixed_size():
    augment = BatchFixedSizePad((64, 80), img_pad_value=5, pad_mask=True, pad_seg=True)
    made = augment(DetDataPreprocessor()(truth_batch()))
    assert made.imgs.shape == (1, 3, 64, 80) and made.imgs[0, 0, -1, -1] == 5 and made.metas[0].pad_shape == (64, 80)
    assert made.gts[0].masks.areas == [40 * 60] and made.gt_semantic_seg[0, 0, -1, -1] == 255
    assert augment(made).imgs.shape == (1, 3, 64, 80)


def test_a_batch_is_resized_as_a_whole_and_padded():
    made = BatchResize((120, 100), pad_size_divisor=32, pad_value=9)(DetDataPreprocessor()(truth_batch()))
    assert made.imgs.shape == (1, 3, 96, 128) and made.imgs[0, 0, 79, 119] == 10 and made.imgs[0, 0, 80, 0] == 9
    assert made.gts[0].bboxes.tolist() == [[8, 16, 40, 60]] and made.ignored[0].tolist() == [[2, 2, 2, 2]]
    assert made.gts[0].masks.areas == [80 * 120] and made.gt_semantic_seg.shape[-2:] == (80, 120)
    meta = made.metas[0]
    assert (meta.img_shape, meta.pad_shape, meta.scale_factor.tolist()) == ((80, 120), (96, 128), [2, 2, 2, 2])


def sizes(seed, iterations):
    torch.manual_seed(seed)
    augment = BatchSyncRandomResize((64, 128), interval=2, size_divisor=16)
    assert isinstance(augment, TracksProgress)
    seen = []
    for iteration in iterations:
        augment.set_progress(Progress(epoch=0, max_epochs=1, iter=iteration, max_iters=99))
        seen.append(tuple(augment(DetDataPreprocessor()(truth_batch(64, 96))).imgs.shape[-2:]))
    return seen


def test_sizes_follow_from_seed_and_iteration():
    seen = sizes(0, range(40))
    assert seen[:2] == [(64, 96)] * 2 and seen[::2] == seen[1::2]
    assert {height for height, _ in seen} == {64, 80, 96, 112, 128}
    assert all(width == 16 * int(height / 16 * 1.5) for height, width in seen)
    assert sizes(0, range(7, 12)) == seen[7:12] and sizes(1, range(40)) != seen
    with pytest.raises(InvalidValueError, match='no sizes'):
        BatchSyncRandomResize((0, 8))


def test_augments_are_for_training_only():
    pad = dict(type='BatchFixedSizePad', size=(128, 128))
    model = build_detector({**RETINANET, 'data_preprocessor': dict(type='DetDataPreprocessor', batch_augments=[pad])})
    assert model.train().preprocess(batch_of((40, 60))).imgs.shape[-2:] == (128, 128)
    assert model.eval().preprocess(batch_of((40, 60))).imgs.shape[-2:] == (40, 60)


def test_branches_are_preprocessed_alike():
    preprocess = MultiBranchDataPreprocessor(dict(type='DetDataPreprocessor', pad_size_divisor=32))
    assert preprocess(truth_batch()).imgs.shape[-2:] == (64, 64)
    batch = truth_batch()
    semi = SemiBatch(imgs=batch.imgs, metas=batch.metas, teacher=batch_of((5, 6)), student=batch_of((40, 70)))
    made = preprocess(semi)
    assert [each.imgs.shape[-2:] for each in (made, made.teacher, made.student)] == [(64, 64), (32, 32), (64, 96)]
    assert made.teacher.imgs.dtype == torch.float32
    only = preprocess(SemiBatch(imgs=batch.imgs[:0], metas=[], teacher=batch_of((5, 6)), student=batch_of((4, 7))))
    assert only.teacher.imgs.shape[-2:] == (32, 32) and len(only) == 0
