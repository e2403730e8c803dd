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

HTC_MASK = dict(MASK, type='HTCMaskHead')
SEMANTIC = dict(
    semantic_head=dict(
        type='FusedSemanticHead',
        num_ins=2,
        fusion_level=1,
        num_convs=1,
        in_channels=4,
        conv_out_channels=4,
        num_classes=5,
    ),
    semantic_roi_extractor=dict(MASK_EXTRACTOR, featmap_strides=[8]),
)


def head(**arguments):
    torch.manual_seed(0)
    cfg = dict(
        type='HybridTaskCascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 0.5],
        bbox_roi_extractor=EXTRACTOR,
        bbox_head=dict(BBOX, reg_class_agnostic=True),
        mask_roi_extractor=MASK_EXTRACTOR,
        mask_head=[dict(HTC_MASK, with_conv_res=False), HTC_MASK],
        train_cfg=TRAIN,
        test_cfg=TEST,
    )
    return build_head(cfg | arguments)


def test_losses_with_and_without_semantic_branch():
    names = {f's{s}.{name}' for s in (0, 1) for name in ('loss_cls', 'acc', 'loss_bbox', 'loss_mask')}
    batch = scene()
    assert head().loss(feats(), proposals(), batch).keys() == names
    with pytest.raises(ValueError, match='gt_semantic_seg'):
        head(**SEMANTIC).loss(feats(), proposals(), batch)
    batch.gt_semantic_seg = torch.randint(0, 5, (2, 1, 4, 4))
    assert head(**SEMANTIC).loss(feats(), proposals(), batch).keys() == names | {'loss_semantic_seg'}


@pytest.mark.parametrize('fusion', [('bbox', 'mask'), ('bbox',), ('mask',), ()])
def test_semantic_features_are_added_where_wanted(fusion):
    """To box features averaged down to their size, to mask features as they are."""
    roi_head = head(**SEMANTIC, semantic_fusion=fusion)
    rois = bboxes_to_rois([proposals()[0].bboxes])
    semantic = torch.ones(1, 4, 4, 4)
    inside = rois[:, 3:].amax(1) <= 24  # samples beyond the map fade out
    for branch, name in ((roi_head._box_feats, 'bbox'), (roi_head._mask_feats, 'mask')):
        with_semantic = branch(0, (*feats(), semantic), rois)
        without = branch(0, (*feats(), semantic * 0), rois)
        added = (with_semantic - without)[inside]
        torch.testing.assert_close(added, torch.full_like(added, float(name in fusion)))


def test_mask_features_flow_through_the_stages():
    """The second stage's logits come from the first's hidden features too, at test time as in training."""
    roi_head = head()
    rois = bboxes_to_rois([proposals()[0].bboxes])
    pooled = roi_head._mask_feats(1, feats(), rois)
    first, second = roi_head.mask_head
    expected = second.logits(second.hidden(pooled, first.hidden(pooled)))
    torch.testing.assert_close(roi_head._train_mask_logits(1, feats(), rois), expected)
    torch.testing.assert_close(roi_head._mask_logits(feats(), rois)[1], expected)
    alone = head(mask_info_flow=False, mask_head=dict(HTC_MASK, with_conv_res=False))
    torch.testing.assert_close(
        alone._train_mask_logits(1, feats(), rois), alone.mask_head[1](alone._mask_feats(1, feats(), rois))
    )


def test_interleaved_masks_see_the_boxes_after_the_stage():
    refined = [regions([4, 2, 15, 14]), regions([4, 8, 20, 25])]
    batch = scene()
    samples = head()._sample(0, feats(), proposals(), batch)
    assert head(interleaved=False)._mask_samples(0, feats(), samples, refined, batch) is samples
    drawn = head()._mask_samples(0, feats(), samples, refined, batch)
    assert drawn[1].pos_bboxes.tolist() == [[4, 8, 20, 24], [4, 8, 20, 25]]


def test_hard_examples_are_those_of_the_box_head_for_the_masks_too():
    roi_head = head(train_cfg=dict(TRAIN, sampler=dict(OHEM, num=2)))
    positive = [[3.0, 2, 14, 15], [2, 3, 15, 14], [2, 2, 16, 14]]
    refined = [regions(*positive), regions([4, 8, 20, 25])]
    drawn = roi_head._mask_samples(0, feats(), [], refined, scene())
    pooled = roi_head._box_feats(0, feats(), bboxes_to_rois([torch.tensor(positive)]))
    assert drawn[0].pos_inds.tolist() == hardest(roi_head.bbox_head[0], pooled, [0, 0, 0], 1)


def test_predictions():
    detections = head(**SEMANTIC).predict(feats(), proposals(), [meta(SIZE, SIZE)] * 2)
    assert all(0 < len(each) <= 6 and len(each.masks) == len(each) for each in detections)
    none = head().predict(feats(), [regions(), regions()], [meta(SIZE, SIZE)] * 2)
    assert [len(each) for each in none] == [0, 0]


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(semantic_head=SEMANTIC['semantic_head']), 'go together'),
        (dict(semantic_fusion=('box',)), r"\['box'\]"),
        (dict(mask_head=None), 'needs a mask_head'),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        head(**wrong)


def test_masks_of_all_stages_or_of_the_last():
    rois = bboxes_to_rois([proposals()[0].bboxes])
    stages = head()._mask_logits(feats(), rois)
    (last,) = head(averages_masks=False)._mask_logits(feats(), rois)
    assert len(stages) == 2
    torch.testing.assert_close(last, stages[1])
