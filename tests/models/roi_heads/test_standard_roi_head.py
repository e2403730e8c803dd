from __future__ import annotations

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from tests.models.roi_heads.parts import (
    BBOX,
    EXTRACTOR,
    MASK,
    MASK_EXTRACTOR,
    OHEM,
    SIZE,
    TEST,
    TRAIN,
    feats,
    hardest,
    proposals,
    regions,
    scene,
)
from tests.models.scenes import meta


def head(**arguments):
    torch.manual_seed(0)
    cfg = dict(type='StandardRoIHead', bbox_roi_extractor=EXTRACTOR, bbox_head=BBOX, train_cfg=TRAIN, test_cfg=TEST)
    return build_head(cfg | arguments)


def with_mask(**arguments):
    return head(mask_head=MASK, mask_roi_extractor=MASK_EXTRACTOR, **arguments)


def test_losses_of_both_branches():
    losses = with_mask().loss(feats(), proposals(), scene())
    assert losses.keys() == {'loss_cls', 'acc', 'loss_bbox', 'loss_mask'}
    assert all(loss.isfinite() for loss in losses.values())
    assert head().loss(feats(), proposals(), scene()).keys() == {'loss_cls', 'acc', 'loss_bbox'}


def test_samples_hold_the_truth_first():
    """Two objects, the two proposals that meet them, and the four that do not."""
    samples = head().sample(feats(), proposals(), scene())
    assert samples[0].pos_gt_labels.tolist() == [0, 2, 0, 2] and samples[0].pos_is_gt.tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert len(samples[0].neg_bboxes) == 4
    assert samples[1].pos_gt_labels.tolist() == [1, 1] and len(samples[1].neg_bboxes) == 4


@pytest.mark.parametrize('own_extractor', [True, False])
def test_masks_are_learnt_from_positives(own_extractor, monkeypatch):
    """One mask for each positive, from RoI features of its own or from those of the box branch."""
    extractor = MASK_EXTRACTOR if own_extractor else None
    cfg = dict(TRAIN, mask_size=8 if own_extractor else 4)
    roi_head = head(mask_head=MASK, mask_roi_extractor=extractor, train_cfg=cfg)
    seen = []
    monkeypatch.setattr(
        roi_head.mask_head, 'loss', lambda logits, targets, labels: seen.append((logits, targets, labels)) or {}
    )
    roi_head.loss(feats(), proposals(), scene())
    logits, targets, labels = seen[0]
    assert labels.tolist() == [0, 2, 0, 2, 1, 1]
    assert logits.shape == (6, 3, *targets.shape[1:]) and len(targets) == 6
    assert targets[0].mean() == 1  # the first region is the object itself, which fills its box
    if not own_extractor:
        samples = roi_head.sample(feats(), proposals(), scene())
        rois = bboxes_to_rois([each.pos_bboxes for each in samples])
        torch.testing.assert_close(logits, roi_head.mask_head(roi_head.bbox_roi_extractor(feats(), rois)))


def test_masks_may_be_soft(monkeypatch):
    roi_head = head(mask_head=MASK, mask_roi_extractor=MASK_EXTRACTOR, train_cfg=dict(TRAIN, soft_mask_target=True))
    monkeypatch.setattr(roi_head.mask_head, 'loss', lambda logits, targets, labels: dict(targets=targets))
    targets = roi_head.loss(feats(), proposals(), scene())['targets']
    assert ((targets > 0) & (targets < 1)).any()


def test_hard_regions_are_chosen():
    """Background counts as the class after the last, in ranking too."""
    roi_head = head(train_cfg=dict(TRAIN, sampler=OHEM))
    samples = roi_head.sample(feats(), proposals(), scene())
    for image, each in enumerate(samples):
        boxes = proposals()[image].bboxes
        num_pos = len(each.pos_bboxes)
        rois = bboxes_to_rois([boxes[-4:]])
        rois[:, 0] = image
        pooled = roi_head.bbox_roi_extractor(feats(), rois)
        expected = hardest(roi_head.bbox_head, pooled, [3] * 4, 4 - num_pos)
        assert (each.neg_inds - (len(boxes) - 4)).tolist() == expected
    assert torch.stack(list(roi_head.loss(feats(), proposals(), scene()).values())[:1]).isfinite().all()


def test_predictions_have_masks_of_the_image():
    metas = [meta(SIZE, SIZE, scale=2.0), meta(SIZE, SIZE)]
    detections = with_mask().predict(feats(), proposals(), metas)
    assert [(each.masks.height, each.masks.width) for each in detections] == [(16, 16), (32, 32)]
    assert all(0 < len(each) <= 6 and len(each.masks) == len(each) for each in detections)
    assert detections[0].bboxes.max() <= 16


def test_no_regions():
    none = [regions(), regions()]
    detections = with_mask().predict(feats(), none, [meta(SIZE, SIZE)] * 2)
    assert [len(each) for each in detections] == [0, 0] and [len(each.masks) for each in detections] == [0, 0]


def test_shared_layers_come_before_both_branches():
    shared = dict(type='ResLayer', depth=18, stage=0, stride=1)
    wide = dict(EXTRACTOR, out_channels=64)
    with pytest.raises(ValueError, match='shared_head'):
        head(pretrained='torchvision://resnet18')
    roi_head = head(
        bbox_roi_extractor=wide, bbox_head=dict(BBOX, in_channels=64), shared_head=dict(shared, stage=1, stride=1)
    )
    assert any(name.startswith('shared_head.layer2') for name in roi_head.state_dict())


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match='StandardRoIHead needs bbox_head'):
        head(bbox_head=None)
    with pytest.raises(ValueError, match='test_cfg.rcnn'):
        head(test_cfg=None).predict(feats(), proposals(), [meta()] * 2)
