"""CondInst and BoxInst on images of 64 x 64 pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.errors import ConfigError
from mmkit.models import build_detector
from mmkit.protocols import Progress
from mmkit.structures import BitmapMasks
from tests.models.scenes import batch_of, truth

BOX = [8, 8, 40, 40]
TEST = dict(
    nms_pre=10, score_thr=0.0, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5, mask_thr=0.5
)
PREPROCESSOR = dict(type='BoxInstDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)


def model(kind='CondInst', mask=(), **arguments):
    torch.manual_seed(0)
    cfg = dict(
        type=kind,
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=4,
            stem_channels=4,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(1, 2),
        ),
        neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
        bbox_head=dict(
            type=f'{kind}BboxHead',
            num_params=(4 + 2) * 3 + 3 + 3 * 1 + 1,
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            strides=[8, 16],
            regress_ranges=[(-1, 64), (64, 1e8)],
            norm_on_bbox=True,
        ),
        mask_head=dict(
            type=f'{kind}MaskHead',
            num_layers=2,
            feat_channels=3,
            mask_feature_head=dict(
                in_channels=8, feat_channels=6, start_level=0, end_level=1, out_channels=4, num_stacked_convs=1
            ),
        )
        | dict(mask),
        test_cfg=TEST,
        data_preprocessor=PREPROCESSOR if kind == 'BoxInst' else None,
    )
    return build_detector({key: value for key, value in {**cfg, **arguments}.items() if value is not None})


def scene():
    """One image with an object, and one without."""
    batch = batch_of(truth((BOX, 1)), truth(), height=64, width=64)
    torch.manual_seed(1)
    batch.imgs = torch.randint(0, 256, (2, 3, 64, 64)).float()
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[:, 8:40, 8:24] = 1
    batch.gts[0].masks = BitmapMasks(mask, 64, 64)
    batch.gts[1].masks = BitmapMasks(mask[:0], 64, 64)
    return batch


@pytest.mark.parametrize('kind', ['CondInst', 'BoxInst'])
@pytest.mark.parametrize('empty', [False, True])
def test_every_parameter_has_a_gradient(kind, empty):
    detector, batch = model(kind), scene()
    if empty:
        batch.gts[0] = batch.gts[1]
    losses = detector(batch)
    of_masks = {'loss_mask'} if kind == 'CondInst' else {'loss_mask_project', 'loss_mask_pairwise'}
    assert losses.keys() == {'loss_cls', 'loss_bbox', 'loss_centerness'} | of_masks
    assert empty == all(losses[name] == 0 for name in of_masks)
    sum(losses.values()).backward()
    lacking = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
    assert not lacking


@pytest.mark.parametrize('kind', ['CondInst', 'BoxInst'])
def test_detections_have_masks_of_the_original_image(kind):
    detector, batch = model(kind).eval(), scene()
    for meta in batch.metas:
        meta.scale_factor = np.full(4, 2, np.float32)
        meta.ori_shape = (32, 32)
    assert detector.with_mask
    for rescale, size in ((True, 32), (False, 64)):
        detections = detector.predict(batch, rescale=rescale)
        assert [len(each) for each in detections] == [5, 5]
        assert detections[0].masks.to_ndarray().shape == (5, size, size)
    detector.bbox_head.conv_cls.bias.data.fill_(float('-inf'))  # nothing scores
    nothing = detector.predict(batch)
    assert [len(each.masks) for each in nothing] == [0, 0]


def test_decoded_masks_are_those_of_the_best_points():
    detector, batch = model().eval(), scene()
    boxes, scores, masks = detector.decode(batch)
    assert boxes.shape == (2, 5, 4) and scores.shape == (2, 5, 2) and masks.shape == (2, 5, 16, 16)
    assert ((masks >= 0) & (masks <= 1)).all()


def test_masks_are_learned_where_points_are_positive():
    detector, batch = model(), scene()
    outs = detector.bbox_head(detector.extract_feat(batch.imgs))
    targets = detector.bbox_head.batch_targets(outs, batch)
    positive, nothing = detector.bbox_head.positive_kernels(outs, targets)
    assert len(positive) == 16 and len(nothing) == 0  # points (12, 12) ... (36, 36) of the finer level
    assert positive.points[0].tolist() == [12, 12, 8, 8] and not positive.gt_inds.any()
    logits = torch.zeros(1, 16, 16)
    wanted = detector.mask_head.targets(batch.gts[0], logits)
    # Pixels 2, 6, 10, ... of 8 .. 39 and 8 .. 23.
    assert wanted[0, 2:10, 2:6].all() and wanted.sum() == 8 * 4


@pytest.mark.parametrize(
    ('settings', 'count'),
    [(dict(), 16), (dict(max_masks_to_train=7), 7), (dict(topk_masks_per_img=4), 4), (dict(topk_masks_per_img=64), 16)],
)
def test_the_number_of_trained_masks_is_limited(settings, count):
    detector, batch = model(mask=settings), scene()
    outs = detector.bbox_head(detector.extract_feat(batch.imgs))
    kernels, nothing = detector.bbox_head.positive_kernels(outs, detector.bbox_head.batch_targets(outs, batch))
    chosen = detector.mask_head.choose(kernels)
    assert len(chosen) == count and len(detector.mask_head.choose(nothing)) == 0
    if 'topk_masks_per_img' in settings:
        assert set(chosen.quality.tolist()) == set(kernels.quality.topk(count).values.tolist())


def test_the_loss_of_pairs_grows():
    detector, batch = model('BoxInst', mask=dict(warmup_iters=100)), scene()
    losses = []
    for done in (0, 49, 99, 1000):
        detector.mask_head.set_progress(Progress(epoch=0, max_epochs=1, iter=done, max_iters=2000))
        losses.append(detector(batch)['loss_mask_pairwise'].item())
    assert [each / losses[2] for each in losses] == pytest.approx([0.01, 0.5, 1, 1], rel=1e-4)


def test_parts_that_do_not_fit():
    with pytest.raises(ValueError, match='num_params of bbox_head is 25, masks of mask_head need 33'):
        model(mask=dict(feat_channels=4))
    with pytest.raises(TypeError, match='CondInstBboxHead and a CondInstMaskHead'):
        model(bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=8), test_cfg=None)
    with pytest.raises(ValueError, match='mask_out_stride 3 does not divide'):
        model(mask=dict(mask_out_stride=3))
    with pytest.raises(ValueError, match='exclude each other'):
        model(mask=dict(max_masks_to_train=3, topk_masks_per_img=3))
    with pytest.raises(ConfigError, match='BoxInstDataPreprocessor'):
        model('BoxInst', data_preprocessor=dict(type='DetDataPreprocessor'))(scene())
