"""CrowdDet's second stage: two objects of a region."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.roi_heads import MultiInstanceBBoxHead
from mmkit.models.roi_heads.bbox_heads.multi_instance_bbox_head import MultiInstanceOuts
from tests.models.roi_heads.parts import EXTRACTOR, feats, regions
from tests.models.scenes import batch_of, meta, truth

BBOX = dict(type='MultiInstanceBBoxHead', in_channels=4, fc_out_channels=8, roi_feat_size=4, num_classes=1)
TRAIN = dict(
    assigner=dict(type='MultiInstanceAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5),
    sampler=dict(type='MultiInsRandomSampler', num=1000, pos_fraction=0.5),
)
TEST = dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.5), max_per_img=6)
OBJECTS = (([2, 2, 12, 14], 0), ([2, 2, 12, 9], 0))


def head(**arguments):
    torch.manual_seed(0)
    extractor = dict(EXTRACTOR, roi_layer=dict(EXTRACTOR['roi_layer'], output_size=4))
    cfg = dict(
        type='MultiInstanceRoIHead', bbox_roi_extractor=extractor, bbox_head=BBOX, train_cfg=TRAIN, test_cfg=TEST
    )
    return build_head(cfg | arguments)


def scene():
    return batch_of(truth(*OBJECTS), truth(), height=32, width=32)


def test_targets_of_proposals_and_of_the_objects_themselves():
    bboxes, labels, targets = head().targets(regions([2, 2, 12, 12], [20, 20, 28, 28]), truth(*OBJECTS), None)
    # Positives first: the proposal on both objects, the objects; then the proposal on the background.
    assert labels.tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]
    assert bboxes[3].tolist() == [20, 20, 28, 28] and not targets[3].any()
    assert targets[1, 0].tolist() == [0] * 4  # an object is where it is
    assert targets[1, 1].tolist() == pytest.approx([0, -2.5 / 12 / 0.1, 0, math.log(7 / 12) / 0.2])


@pytest.mark.parametrize('refine', [False, True])
@pytest.mark.parametrize('empty', [False, True])
def test_every_parameter_has_a_gradient(refine, empty):
    made, batch = head(bbox_head=dict(BBOX, with_refine=refine)), scene()
    if empty:
        batch.gts[0] = batch.gts[1]
    losses = made.loss(feats(), [regions([2, 2, 12, 12]), regions([4, 8, 20, 25])], batch)
    assert losses.keys() == ({'loss_rcnn_emd', 'loss_rcnn_emd_ref'} if refine else {'loss_rcnn_emd'})
    sum(losses.values()).backward()
    lacking = [name for name, parameter in made.named_parameters() if parameter.grad is None]
    assert not lacking
    nothing = made.loss(feats(), [regions(), regions()], batch_of(truth(), truth(), height=32, width=32))
    assert all(loss == 0 for loss in nothing.values())


def test_the_better_matching_counts():
    made = MultiInstanceBBoxHead(num_classes=2, in_channels=1, roi_feat_size=1, num_shared_fcs=0)
    scores, deltas = torch.zeros(1, 2, 3), torch.zeros(1, 2, 8)
    deltas[0, 0, 4:] = 2  # of the second class
    labels, targets = torch.tensor([[0, 1]]), torch.zeros(1, 2, 4)
    targets[0, 1] = 2
    loss = made.emd_loss(MultiInstanceOuts(scores, deltas), labels, targets)
    assert loss.item() == pytest.approx(2 * math.log(3))  # the first predicts the second object
    background = torch.tensor([[0, 2]])
    loss = made.emd_loss(MultiInstanceOuts(scores, deltas), background, targets)
    assert loss.item() == pytest.approx(2 * math.log(3))  # the second of the objects is nothing
    scores[0, 1, 0] = 50  # the second prediction is sure of nothing: log 3 for the first, 0 for the second
    loss = made.emd_loss(MultiInstanceOuts(scores, deltas), background, targets)
    assert loss.item() == pytest.approx(math.log(3))


def test_the_refinement_sees_the_first_predictions():
    made = head(bbox_head=dict(BBOX, with_refine=True)).bbox_head
    assert made.shared_fcs_ref.in_features == 8 + 20
    first, refined = made(torch.rand(3, 4, 4, 4))
    assert first.cls_score.shape == refined.cls_score.shape == (3, 2, 2)
    assert first.bbox_pred.shape == refined.bbox_pred.shape == (3, 2, 4)
    names = set(made.state_dict())
    assert {'fc_cls_ref.1.weight', 'fc_reg_ref.0.bias', 'shared_fcs_ref.weight'} < names


def test_detections_of_one_proposal_are_a_set():
    made = head().eval()
    proposals = [regions([2, 2, 12, 14], [2, 2, 12, 15]), regions()]
    for layer in (*made.bbox_head.fc_cls, *made.bbox_head.fc_reg):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    detections, nothing = made.predict(feats(), proposals, [meta(32, 32)] * 2)
    # Both proposals predict themselves twice, with equal scores; the second is suppressed by the first.
    assert detections.bboxes.tolist() == [[2, 2, 12, 14]] * 2 and len(nothing) == 0
    assert detections.scores.tolist() == [0.5] * 2 and detections.labels.tolist() == [0, 0]
    small, _ = made.predict(feats(), proposals, [meta(32, 32, scale=2)] * 2)
    assert small.bboxes[0].tolist() == [1, 1, 6, 7]
    boxes, scores = made.decode(feats(), torch.stack([proposals[0].bboxes] * 2), [meta(32, 32)] * 2)
    assert boxes.shape == (2, 4, 4) and scores.shape == (2, 4, 1)


def test_parts_that_do_not_fit():
    with pytest.raises(TypeError, match='needs a MultiInstanceBBoxHead'):
        head(bbox_head=dict(type='BBoxHead'))
    with pytest.raises(ValueError, match='num_instance is 3, that of bbox_head 2'):
        head(num_instance=3)
    other = head(train_cfg=dict(TRAIN, assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5)))
    with pytest.raises(TypeError, match='needs a MultiInstanceAssigner'):
        other.targets(regions([2, 2, 12, 12]), truth(*OBJECTS), None)
