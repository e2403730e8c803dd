from __future__ import annotations

import math

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.roi_heads.bbox_heads import BBoxHead
from mmkit.models.roi_heads.roi_settings import RoITestSettings
from mmkit.protocols import RoITargets
from tests.models.roi_heads.parts import samples
from tests.models.scenes import meta, truth

CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4)
GTS = truth(([10, 10, 30, 30], 1), ([0, 0, 8, 8], 2))
NMS = dict(type='nms', iou_threshold=0.5)


def head(**arguments):
    return BBoxHead(**dict(dict(in_channels=2, roi_feat_size=1, num_classes=3, bbox_coder=CODER), **arguments))


def sampled():
    """A region 10 pixels left of object 0, one on object 1, and one on nothing."""
    return samples([[0, 10, 20, 30], [0, 0, 8, 8]], [[40, 40, 50, 50]], GTS, [0, 1])


def test_targets_by_hand():
    targets = head().targets([sampled()])
    assert targets.labels.tolist() == [1, 2, 3]  # background is 3
    assert targets.label_weights.tolist() == [1, 1, 1]
    assert targets.bbox_targets.tolist() == [[0.5, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert targets.bbox_weights.tolist() == [[1] * 4, [1] * 4, [0] * 4]
    assert head().targets([sampled()], pos_weight=2.5).label_weights.tolist() == [2.5, 2.5, 1]
    boxes = head(reg_decoded_bbox=True).targets([sampled()]).bbox_targets
    assert boxes[:2].tolist() == GTS.bboxes.tolist()


def test_targets_of_several_images_and_of_none():
    nothing = samples([], [], truth(), [])
    assert head().targets([sampled(), nothing, sampled()]).labels.tolist() == [1, 2, 3, 1, 2, 3]
    assert head().targets([nothing]).bbox_targets.shape == (0, 4)


def loss_of(box_head, bbox_pred, labels=(1, 3)):
    targets = RoITargets(
        labels=torch.tensor(labels),
        label_weights=torch.ones(2),
        bbox_targets=torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 0]]),
        bbox_weights=torch.ones(2, 4),
    )
    rois = torch.tensor([[0.0, 0, 0, 10, 10], [0, 20, 20, 30, 30]])
    return box_head.loss(torch.zeros(2, 4), bbox_pred, rois, targets)


def test_losses_by_hand():
    """Uniform scores cost log 4; the box loss is that of the own class of positives, over the number of regions."""
    pred = torch.full((2, 12), 100.0)
    pred[0, 4:8] = torch.tensor([2.0, 0, 10, 10])  # class 1; off by 2, smooth L1 of which is 1.5
    losses = loss_of(head(), pred)
    assert losses['loss_cls'] == pytest.approx(math.log(4))
    assert losses['loss_bbox'] == pytest.approx(1.5 / 2)
    assert losses['acc'].tolist() in ([0.0], 0.0, [50.0], 50.0)  # all scores are equal: any class may come first
    agnostic = loss_of(head(reg_class_agnostic=True), torch.tensor([[2.0, 0, 10, 10], [7, 7, 7, 7]]))
    assert agnostic['loss_bbox'] == pytest.approx(1.5 / 2)


def test_decoded_boxes_are_compared():
    box_head = head(reg_decoded_bbox=True, reg_class_agnostic=True, loss_bbox=dict(type='GIoULoss'))
    losses = loss_of(box_head, torch.zeros(2, 4))  # no movement: the region is the object
    assert losses['loss_bbox'] == pytest.approx(0, abs=1e-6)


def test_without_positives_the_boxes_keep_a_gradient():
    pred = torch.ones(2, 12, requires_grad=True)
    loss = loss_of(head(), pred, labels=(3, 3))['loss_bbox']
    loss.backward()
    assert loss == 0 and pred.grad.abs().sum() == 0


def test_predicting_needs_scores():
    box_head = head(with_cls=False)
    with pytest.raises(ValueError, match='with_cls=False has no scores'):
        box_head.probabilities(box_head(torch.rand(2, 2, 1, 1))[0])


def test_one_branch_only():
    feats = torch.rand(2, 2, 1, 1)
    cls_only, reg_only = head(with_reg=False), head(with_cls=False)
    assert cls_only(feats)[1] is None and reg_only(feats)[0] is None
    assert cls_only.fc_reg is None and reg_only.fc_cls is None
    with pytest.raises(ValueError, match='with_cls or with_reg'):
        head(with_cls=False, with_reg=False)


def test_background_is_label_minus_one_for_hard_losses():
    torch.manual_seed(0)
    box_head, feats = head(), torch.rand(4, 2, 1, 1)
    labels = torch.tensor([-1, 0, 2, -1])
    expected = torch.nn.functional.cross_entropy(box_head(feats)[0], torch.tensor([3, 0, 2, 3]), reduction='none')
    torch.testing.assert_close(box_head.hard_losses(feats, labels), expected.detach())
    seesaw = head(loss_cls=dict(type='SeesawLoss', num_classes=3))
    with pytest.raises(ValueError, match=r"SeesawLoss has \['loss_cls_objectness', 'loss_cls_classes'\]"):
        seesaw.hard_losses(feats, labels)


def test_prediction_in_original_pixels():
    rois = torch.tensor([[0.0, 4, 4, 12, 12], [0, 0, 0, 30, 30]])
    scores = torch.tensor([[0.7, 0.1, 0.0, 0.2], [0.0, 0.0, 0.6, 0.4]])
    cfg = RoITestSettings(score_thr=0.5, nms=NMS, max_per_img=10)
    deltas = torch.zeros(2, 12)
    detections = head().predict(rois, scores, deltas, meta(24, 24, scale=2.0), cfg, rescale=True)
    assert detections.bboxes.tolist() == [[2, 2, 6, 6], [0, 0, 12, 12]]  # the second is clipped to the image of 24
    assert detections.labels.tolist() == [0, 2]
    same = head().predict(rois, scores, None, meta(24, 24, scale=2.0), cfg, rescale=False)
    assert same.bboxes.tolist() == [[4, 4, 12, 12], [0, 0, 24, 24]]
    assert len(head().predict(rois[:0], scores[:0], deltas[:0], meta(), cfg)) == 0


def test_regression_by_class():
    deltas = torch.zeros(2, 12)
    deltas[0, 4] = deltas[1, 8] = 0.5  # class 1 and class 2 move right by half a width
    bboxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    moved = head().regress_by_class(bboxes, torch.tensor([1, 1]), deltas, meta(100, 100))
    assert moved.tolist() == [[5, 0, 15, 10], [0, 0, 10, 10]]
    agnostic = head(reg_class_agnostic=True).regress_by_class(
        bboxes, torch.tensor([1, 0]), deltas[:, 4:8], meta(100, 100)
    )
    assert agnostic.tolist() == [[5, 0, 15, 10], [0, 0, 10, 10]]


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if name.endswith('weight')}


def test_layers_have_the_names_of_checkpoints():
    small = dict(in_channels=2, roi_feat_size=3, num_classes=3, fc_out_channels=5, conv_out_channels=4)
    assert shapes(build_head(dict(small, type='Shared2FCBBoxHead'))) == {
        'shared_fcs.0.weight': (5, 18),
        'shared_fcs.1.weight': (5, 5),
        'fc_cls.weight': (4, 5),
        'fc_reg.weight': (12, 5),
    }
    four = shapes(build_head(dict(small, type='Shared4Conv1FCBBoxHead', norm_cfg=dict(type='GN', num_groups=2))))
    assert {'shared_convs.0.conv.weight', 'shared_convs.3.gn.weight', 'shared_fcs.0.weight'} <= four.keys()
    assert four['shared_fcs.0.weight'] == (5, 36)
    branches = BBoxHead(num_shared_convs=1, num_cls_fcs=1, num_reg_convs=1, **small)
    assert shapes(branches)['cls_fcs.0.weight'] == (5, 36) and shapes(branches)['fc_reg.weight'] == (12, 36)
    cls_score, bbox_pred = branches(torch.rand(2, 2, 3, 3))
    assert cls_score.shape == (2, 4) and bbox_pred.shape == (2, 12)


def test_average_pool_replaces_the_cells():
    pooled = BBoxHead(num_shared_convs=1, in_channels=2, roi_feat_size=3, num_classes=3, conv_out_channels=4,
                            with_avg_pool=True)  # fmt: skip
    assert pooled.fc_cls.in_features == 4
    assert pooled(torch.rand(5, 2, 3, 3))[0].shape == (5, 4)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(num_shared_fcs=1, num_cls_convs=1), 'after shared linear layers'),
        (dict(num_reg_fcs=1, with_reg=False), 'switches off'),
    ],
)
def test_layers_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        BBoxHead(**wrong)
