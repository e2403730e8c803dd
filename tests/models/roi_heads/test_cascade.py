from __future__ import annotations

import pytest
import torch

from mmkit.bbox import SamplingResult
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

CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4)


def head(**arguments):
    torch.manual_seed(0)
    cfg = dict(
        type='CascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 0.5],
        bbox_roi_extractor=EXTRACTOR,
        bbox_head=[dict(BBOX, bbox_coder=CODER, reg_class_agnostic=True), dict(BBOX, bbox_coder=CODER)],
        train_cfg=[TRAIN, TRAIN],
        test_cfg=TEST,
    )
    return build_head(cfg | arguments)


def with_mask(**arguments):
    return head(mask_head=MASK, mask_roi_extractor=MASK_EXTRACTOR, **arguments)


def shifting(roi_head, stage, shift):
    """Let a stage move every box right by `shift` widths."""
    layer = roi_head.bbox_head[stage].fc_reg
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    layer.bias.data[0::4] = shift


def test_losses_of_every_stage():
    losses = with_mask().loss(feats(), proposals(), scene())
    names = ('loss_cls', 'acc', 'loss_bbox', 'loss_mask')
    assert losses.keys() == {f's{stage}.{name}' for stage in (0, 1) for name in names}
    assert all(loss.isfinite().all() for loss in losses.values())


def test_stages_are_weighted_but_not_their_accuracy():
    full, half = (head(stage_loss_weights=each).loss(feats(), proposals(), scene()) for each in ([1, 1], [1, 0.5]))
    for name, value in full.items():
        torch.testing.assert_close(half[name], value * (0.5 if name.startswith('s1.loss') else 1))


def test_boxes_are_handed_on_without_added_truth():
    """Each proposal moved by its stage; what was ground truth is added afresh by the next sampler."""
    roi_head = head()
    shifting(roi_head, 0, 0.5)
    samples = roi_head._sample(0, feats(), proposals(), scene())
    rois = bboxes_to_rois([each.bboxes for each in samples])
    cls_score, bbox_pred = roi_head.bbox_head[0](roi_head._box_feats(0, feats(), rois))
    labels = roi_head.bbox_head[0].targets(samples).labels
    refined = roi_head._refine_samples(0, samples, cls_score, bbox_pred, labels, scene())
    assert [len(each) for each in refined] == [6, 5]
    widths = samples[1].bboxes[1:, 2] - samples[1].bboxes[1:, 0]
    expected = samples[1].bboxes[1:] + widths[:, None] * torch.tensor([0.5, 0, 0.5, 0])
    torch.testing.assert_close(refined[1].bboxes, expected.clamp(max=SIZE))


def test_background_is_refined_by_its_best_class():
    """A region of no object follows the deltas of the class that it resembles most."""
    roi_head = head(bbox_head=dict(BBOX, bbox_coder=CODER))
    boxes = regions([0, 0, 8, 8]).bboxes
    none = torch.zeros(0, dtype=torch.long)
    sample = SamplingResult(none, torch.arange(1), boxes[:0], boxes, none, boxes[:0], none, none.bool())
    cls_score, deltas = torch.tensor([[0.0, 2.0, 1.0, 9.0]]), torch.zeros(1, 12)
    deltas[0, 4] = 1.0  # class 1 moves right by one width
    batch = scene()
    batch.metas = batch.metas[:1]
    refined = roi_head._refine_samples(0, [sample], cls_score, deltas, torch.tensor([3]), batch)
    assert refined[0].bboxes.tolist() == [[8, 0, 16, 8]]


def test_prediction_moves_stage_by_stage_and_averages_scores():
    roi_head = head(bbox_head=dict(BBOX, bbox_coder=CODER, reg_class_agnostic=True))
    shifting(roi_head, 0, 0.5)
    shifting(roi_head, 1, 0.25)
    for stage, bias in enumerate(([4.0, 0, 0, 0], [0, 2.0, 0, 0])):
        layer = roi_head.bbox_head[stage].fc_cls
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data.copy_(torch.tensor(bias))
    detections = roi_head.predict([feat[:1] for feat in feats()], [regions([0, 0, 8, 8])], [meta(SIZE, SIZE)])[0]
    assert detections.bboxes[0].tolist() == [6, 0, 14, 8]  # 4 and then 2 to the right
    expected = torch.tensor([2.0, 1, 0, 0]).softmax(0)  # the mean is of logits
    torch.testing.assert_close(detections.scores[:2], expected[:2])
    assert detections.labels[:2].tolist() == [0, 1]


def test_hard_regions_are_chosen_by_the_stage_itself():
    roi_head = head(train_cfg=dict(TRAIN, sampler=OHEM))
    for stage in (0, 1):
        samples = roi_head._sample(stage, feats(), proposals(), scene())
        for image, each in enumerate(samples):
            boxes = proposals()[image].bboxes
            rois = bboxes_to_rois([boxes[-4:]])
            rois[:, 0] = image
            pooled = roi_head._box_feats(stage, feats(), rois)
            expected = hardest(roi_head.bbox_head[stage], pooled, [3] * 4, 4 - len(each.pos_bboxes))
            assert (each.neg_inds - (len(boxes) - 4)).tolist() == expected
    losses = roi_head.loss(feats(), proposals(), scene())
    assert all(value.isfinite().all() for value in losses.values())


def test_no_regions():
    detections = with_mask().predict(feats(), [regions(), regions()], [meta(SIZE, SIZE)] * 2)
    assert [len(each) for each in detections] == [0, 0] and [len(each.masks) for each in detections] == [0, 0]


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(bbox_head=[BBOX]), 'bbox_head has 1 entries, but num_stages is 2'),
        (dict(stage_loss_weights=[1]), '1 stage_loss_weights for 2 stages'),
        (dict(shared_head=dict(type='ResLayer', depth=18)), 'shared_head'),
        (dict(bbox_roi_extractor=None), 'needs bbox_head and bbox_roi_extractor'),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        head(**wrong)
