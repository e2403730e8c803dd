"""On a map of 2 x 2 cells of 8 pixels the points are (4, 4), (12, 4), (4, 12), (12, 12)."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import FCOSHead
from tests.models.scenes import batch_of, meta, truth, zeros

LN2 = math.log(2)
BIG, SMALL = ([0, 0, 16, 16], 0), ([8, 8, 16, 16], 1)


def head(**arguments):
    return FCOSHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            strides=[8],
            regress_ranges=[[-1, 1e8]],
            loss_bbox=dict(type='IoULoss', linear=True),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
        )
        | arguments
    )


def targets(result, *objects):
    points = result.points([torch.zeros(1, 1, 2, 2)])[0]
    ranges = torch.tensor(result.regress_ranges[0]).expand(4, 2)
    return result.targets(points, ranges, truth(*objects))


def test_a_point_belongs_to_the_smallest_object_around_it():
    labels, distances, gt_inds = targets(head(), BIG, SMALL)
    assert labels.tolist() == gt_inds.tolist() == [0, 0, 0, 1]
    assert distances[0].tolist() == [4, 4, 12, 12]
    assert distances[3].tolist() == [4, 4, 4, 4]
    assert targets(head(), SMALL, BIG)[0].tolist() == [0, 0, 0, 1]
    assert targets(head())[0].tolist() == [2] * 4


def test_the_greatest_distance_must_be_in_the_range_of_the_level():
    assert targets(head(regress_ranges=[(-1, 4)]), BIG, SMALL)[0].tolist() == [2, 2, 2, 1]
    assert targets(head(regress_ranges=[(12, 64)]), BIG, SMALL)[0].tolist() == [0, 0, 0, 0]


def test_center_sampling():
    # Half a stride around (8, 8) reaches to the points, which are on the border and so outside.
    assert targets(head(center_sampling=True, center_sample_radius=0.5), BIG)[0].tolist() == [2] * 4
    assert targets(head(center_sampling=True, center_sample_radius=0.6), BIG)[0].tolist() == [0] * 4
    # The middle does not leave the object.
    inside = targets(head(center_sampling=True, center_sample_radius=5), ([0, 0, 10, 10], 1))[0]
    assert inside.tolist() == [1, 2, 2, 2]


def test_distances_in_strides():
    assert targets(head(norm_on_bbox=True), BIG)[1][0].tolist() == [0.5, 0.5, 1.5, 1.5]


def test_losses_by_hand():
    cls_scores, _, centers = zeros(2, 4, 1)
    losses = head().loss((cls_scores, [torch.full((1, 4, 2, 2), 4.0)], centers), batch_of(truth(BIG, SMALL)))
    assert losses['loss_cls'].item() == pytest.approx(LN2 * 4 * 0.25 * (0.25 + 0.75) / 4)
    assert losses['loss_centerness'].item() == pytest.approx(LN2)
    # Boxes of 8 x 8: IoU 1/4 for the three points of the big object (centerness 1/3 each), 1 for the small one.
    assert losses['loss_bbox'].item() == pytest.approx((3 * (1 / 3) * 0.75 + 0) / 2)


def test_towers():
    feats = [torch.rand(1, 4, 2, 2)]
    on_reg, on_cls = head(centerness_on_reg=True), head()
    for result, silent, speaking in ((on_reg, 'cls_convs', 'reg_convs'), (on_cls, 'reg_convs', 'cls_convs')):
        result(feats)[2][0].sum().backward()
        grads = {name.split('.')[0]: p.grad for name, p in result.named_parameters() if 'convs' in name}
        assert grads[silent] is None and grads[speaking] is not None
    names = head(dcn_on_last_conv=True, stacked_convs=2, conv_bias=True).state_dict()
    assert 'cls_convs.1.conv.conv_offset.weight' in names and 'cls_convs.0.conv.bias' in names
    assert 'cls_convs.0.conv.conv_offset.weight' not in names
    norm = dict(type='GN', num_groups=2)
    assert 'cls_convs.0.conv.bias' not in head(norm_cfg=norm).state_dict()
    assert 'cls_convs.0.conv.bias' in head(norm_cfg=norm, conv_bias=True).state_dict()


def test_raw_predictions_are_made_positive():
    feats = [torch.rand(1, 4, 2, 2)]
    for result, expected in ((head(), math.exp(-1)), (head(norm_on_bbox=True), 0)):
        result.conv_reg.weight.data.zero_()
        result.conv_reg.bias.data.fill_(-1)
        assert result(feats)[1][0].unique().tolist() == pytest.approx([expected])


@pytest.mark.parametrize('norm_on_bbox, distance', [(False, 4.0), (True, 0.5)])
def test_predictions(norm_on_bbox, distance):
    cls_scores, _, centers = zeros(2, 4, 1)
    cls_scores[0].fill_(-10)
    cls_scores[0][0, 1, 1, 1], cls_scores[0][0, 0, 0, 1] = 2, 1
    outs = cls_scores, [torch.full((1, 4, 2, 2), distance)], centers
    (detections,) = head(norm_on_bbox=norm_on_bbox).predict(outs, [meta(scale=2)])
    assert detections.bboxes.tolist() == [[4, 4, 8, 8], [4, 0, 8, 4]]
    assert detections.labels.tolist() == [1, 0]
    assert detections.scores.tolist() == pytest.approx((torch.tensor([2.0, 1.0]).sigmoid() / 2).tolist())


def test_ranges_must_fit_the_strides():
    with pytest.raises(ValueError, match='regress_ranges'):
        head(strides=[8, 16])
