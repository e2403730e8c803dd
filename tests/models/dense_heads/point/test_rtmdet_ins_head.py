from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmkit.models.dense_heads import RTMDetInsHead, RTMDetInsSepBNHead
from mmkit.models.dense_heads.point.rtmdet_ins_head import MaskFeatModule, strided_masks
from mmkit.structures import BitmapMasks, Instances
from tests.models.scenes import batch_of, meta, truth

TRAIN = dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1, debug=False)
SMALL = dict(
    num_classes=2,
    in_channels=4,
    feat_channels=4,
    stacked_convs=1,
    num_prototypes=1,
    dyconv_channels=1,
    num_dyconvs=1,
    anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16]),
    train_cfg=TRAIN,
    test_cfg=dict(nms_pre=10, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=5),
)
FEATS = [torch.rand(2, 4, 8, 8), torch.rand(2, 4, 4, 4)]


def with_masks(gts: Instances, height: int = 64, width: int = 64) -> Instances:
    """Masks as large as the boxes."""
    masks = np.zeros((len(gts), height, width), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, gts.bboxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    return replace(gts, masks=BitmapMasks(masks, height, width))


@pytest.mark.parametrize('head', [RTMDetInsHead, RTMDetInsSepBNHead])
@pytest.mark.parametrize('objects', [[([8, 8, 40, 40], 1), ([20, 10, 60, 30], 0)], []])
def test_every_parameter_learns_with_or_without_objects(head: type[RTMDetInsHead], objects: list) -> None:
    torch.manual_seed(0)
    model = head(**SMALL, **({} if head is RTMDetInsSepBNHead else dict(norm_cfg=dict(type='GN', num_groups=2))))
    model.init_weights()
    batch = batch_of(with_masks(truth(*objects)), with_masks(truth()), height=64, width=64)
    losses = model.loss(model(FEATS), batch)
    assert losses.keys() == {'loss_cls', 'loss_bbox', 'loss_mask'}
    assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
    assert losses['loss_mask'] > 0 if objects else losses['loss_mask'] == 0
    sum(losses.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_masks_by_hand() -> None:
    head = RTMDetInsSepBNHead(**SMALL)
    # Two weights of the coordinates, one of the prototype, a bias; for points with the strides 8 and 16.
    kernels = torch.tensor([[8.0, 16, 8, 1, 10, 2, -1], [8, 16, 16, 1, 10, 2, -1]])
    feats = torch.tensor([[[0.0, 1], [2, 3]]])  # of the cells (0, 0), (8, 0), (0, 8), (8, 8)
    logits = head.mask_logits(kernels, feats)
    offsets = torch.tensor([[[1 + 20, 0 + 20.0], [1 + 10, 0 + 10]]]) / 8  # x + 10 y in cells, by 8
    torch.testing.assert_close(logits, torch.cat([offsets, offsets / 2]) + 2 * feats - 1)


def test_decoded_kernels_are_those_of_the_points() -> None:
    head = RTMDetInsSepBNHead(**SMALL)
    outs = head(FEATS)
    kernels, feats = head.kernels(outs)
    assert kernels.shape == (2, 64 + 16, 3 + 4) and feats.shape == (2, 1, 8, 8)
    assert kernels[0, 64 + 5, :3].tolist() == [16, 16, 16]
    torch.testing.assert_close(kernels[1, 64 + 5, 3:], outs.kernels[1][1, :, 1, 1])


def test_predicted_masks_are_those_of_the_predicted_boxes() -> None:
    head = RTMDetInsSepBNHead(**SMALL).eval()
    head.init_weights()
    with torch.no_grad():
        outs = head(FEATS)
        for params in outs.kernels:  # a mask is where the prototype is above 0
            params[:] = torch.tensor([0.0, 0, 1, 0]).view(1, 4, 1, 1)
        outs.mask_feats[:] = -1
        outs.mask_feats[0, :, :4] = 1
        first, second = head.predict(outs, [meta(64, 64, scale=2), meta(48, 60, scale=2)])
        assert len(first) == 5 and (first.scores.diff() <= 0).all()
        assert (first.masks.height, first.masks.width) == (32, 32) and set(first.masks.areas) == {16 * 32}
        assert (second.masks.height, second.masks.width) == (24, 30) and set(second.masks.areas) == {0}
        (unscaled, _) = head.predict(outs, [meta(60, 56, scale=2)] * 2, rescale=False)
        assert (unscaled.masks.height, unscaled.masks.width) == (60, 56) and set(unscaled.masks.areas) == {32 * 56}
        nothing = head.predict(outs, [meta(64, 64)] * 2, cfg=dict(SMALL['test_cfg'], score_thr=1.0))[0]
        assert len(nothing) == 0 and len(nothing.masks) == 0
        strict = head.predict(outs, [meta(64, 64)] * 2, cfg=dict(SMALL['test_cfg'], mask_thr_binary=0.9))[0]
        assert set(strict.masks.areas) == {0}  # sigmoid(1) is less


def test_targets_of_masks() -> None:
    masks = np.arange(36).reshape(1, 6, 6) % 2
    sampled = strided_masks(BitmapMasks(masks, 6, 6), 2, (4, 2), torch.device('cpu'))
    assert sampled.tolist() == [[[1, 1], [1, 1], [1, 1], [0, 0]]]


def test_levels_are_fused_in_the_size_of_the_finest() -> None:
    module = MaskFeatModule(4, 6, stacked_convs=2, num_levels=2, num_prototypes=3)
    assert module(FEATS).shape == (2, 3, 8, 8)


def test_classes_and_boxes_share_towers() -> None:
    head = RTMDetInsSepBNHead(**SMALL)
    names = [name for name, _ in head.named_parameters()]
    assert not any(name.startswith('reg_convs') for name in names)
    assert 'reg_convs.1.0.bn.weight' in head.state_dict() and 'kernel_convs.1.0.conv.weight' in names
    assert head(FEATS).distances[0].min() >= 0


@pytest.mark.parametrize(
    'arguments, word', [(dict(num_dyconvs=0), 'num_dyconvs'), (dict(mask_loss_stride=3), 'stride')]
)
def test_mistakes(arguments: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        RTMDetInsSepBNHead(**{**SMALL, **arguments})


def test_loss_of_masks_by_hand() -> None:
    head = RTMDetInsSepBNHead(**SMALL)
    outs = head(FEATS)
    for level in range(2):
        outs.kernels[level].data[:] = torch.tensor([0.0, 0, 0, 0]).view(1, 4, 1, 1)  # probability 1/2 everywhere
    losses = head.loss(outs, batch_of(with_masks(truth(([0, 0, 32, 64], 1))), with_masks(truth()), height=64, width=64))
    dice = 2 * (128 / 2) / (256 / 4 + 128)  # 128 of the 16 x 16 pixels that are compared belong to the object
    assert losses['loss_mask'].item() == pytest.approx(2 * (1 - dice), rel=1e-4) and math.isfinite(dice)
