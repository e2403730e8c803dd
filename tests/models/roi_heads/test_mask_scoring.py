from __future__ import annotations

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.mask_heads import MaskIoUHead
from tests.models.roi_heads.parts import (
    BBOX,
    EXTRACTOR,
    MASK,
    MASK_EXTRACTOR,
    TEST,
    TRAIN,
    feats,
    proposals,
    samples,
    scene,
    with_masks,
)
from tests.models.scenes import batch_of, meta, truth

IOU = dict(
    type='MaskIoUHead',
    num_convs=2,
    num_fcs=1,
    roi_feat_size=4,
    in_channels=4,
    conv_out_channels=4,
    fc_out_channels=6,
    num_classes=3,
)


def head(**arguments):
    torch.manual_seed(0)
    cfg = dict(
        type='MaskScoringRoIHead',
        bbox_roi_extractor=EXTRACTOR,
        bbox_head=BBOX,
        mask_roi_extractor=MASK_EXTRACTOR,
        mask_head=MASK,
        mask_iou_head=IOU,
        train_cfg=dict(TRAIN, mask_thr_binary=0.5),
        test_cfg=TEST,
    )
    return build_head(cfg | arguments)


def test_iou_targets_know_the_object_outside_of_the_region():
    gts = with_masks(truth(([4, 4, 12, 12], 0)))
    sampled = samples([[4, 4, 12, 7]], [], gts, [0])  # rows 4 to 7, both counted: half of the object
    everything = torch.full((1, 8, 8), 9.0)
    iou = MaskIoUHead(roi_feat_size=4).targets([sampled], [gts], everything, torch.ones(1, 8, 8), threshold=0.5)
    assert iou.tolist() == [pytest.approx(0.5)]


def test_losses_and_gradients():
    model = head()
    losses = model.loss(feats(), proposals(), scene())
    assert losses.keys() == {'loss_cls', 'acc', 'loss_bbox', 'loss_mask', 'loss_mask_iou'}
    sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_images_without_objects():
    model = head()
    empty = batch_of(with_masks(truth()), with_masks(truth()), height=32, width=32)
    losses = model.loss(feats(), proposals(), empty)
    assert losses['loss_mask_iou'] == 0
    sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_scores_are_multiplied_by_the_predicted_iou():
    model = head().eval()
    torch.nn.init.zeros_(model.mask_iou_head.fc_mask_iou.weight)
    torch.nn.init.constant_(model.mask_iou_head.fc_mask_iou.bias, 0.25)
    scored = model.predict(feats(), proposals(), [meta(32, 32)] * 2)
    torch.manual_seed(0)
    plain = head()
    plain._mask_quality = lambda *_: None
    for each, raw in zip(scored, plain.eval().predict(feats(), proposals(), [meta(32, 32)] * 2), strict=True):
        torch.testing.assert_close(each.scores, raw.scores / 4)
        assert len(each.masks) == len(each)
    boxes, scores, masks = model.decode(feats(), torch.stack([each.bboxes[:5] for each in proposals()]), [meta()] * 2)
    assert scores.max() <= 0.25 and boxes.shape[:2] == masks.shape[:2]


def test_no_mask_to_score():
    with pytest.raises(ValueError, match='MaskScoringRoIHead needs a mask_head'):
        head(mask_head=None)
