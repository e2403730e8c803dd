"""On a map of 4 x 4 cells of 8 pixels the points are (4, 4), (12, 4), ..., (28, 28)."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import CenterNetUpdateHead
from tests.models.scenes import batch_of, meta, truth, zeros

OBJECT = ([0, 0, 24, 24], 1)  # its centre (12, 12) is the point of cell (1, 1)


def head(**arguments):
    torch.manual_seed(0)
    return CenterNetUpdateHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            strides=[8],
            regress_ranges=[[0, 1e8]],
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
        )
        | arguments
    )


def targets(made, *objects, preds=None):
    points = made.points([torch.zeros(1, 1, 4, 4)])[0]
    ranges = torch.tensor(made.regress_ranges[0]).expand(16, 2)
    return made.targets(points, ranges, torch.zeros(16, 4) if preds is None else preds, truth(*objects))


def test_heat_falls_off_around_the_peak():
    result = targets(head(), OBJECT)
    radius = max(4, 24 * math.sqrt(2) / 9)  # overlap 0.8: delta is 1 / 9
    heat = result.heatmap[:, 1].reshape(4, 4)
    assert heat[1, 1] == 1
    assert heat[1, 2].item() == pytest.approx(math.exp(-((8 / radius) ** 2)))
    assert heat[3, 3] == 0  # below 1e-4
    assert not result.heatmap[:, 0].any()


def test_points_around_the_peak_and_inside_the_object_regress_it():
    result = targets(head(), OBJECT)
    assert result.regressed.reshape(4, 4).tolist() == [[True] * 3 + [False]] * 3 + [[False] * 4]
    assert result.distances[5].tolist() == [1.5] * 4  # in strides
    assert result.distances[0].tolist() == [0.5, 0.5, 2.5, 2.5]
    # Of two objects the one whose centre is nearer, in radii.
    both = targets(head(), OBJECT, ([8, 0, 32, 24], 0))
    assert both.distances[5].tolist() == [1.5] * 4 and both.distances[6].tolist() == [1.5] * 4


def test_objects_belong_to_the_levels_of_their_diagonal():
    half = 12 * math.sqrt(2)
    for low, high, fits in ((0, half + 1, True), (half + 1, 99, False)):
        result = targets(head(regress_ranges=[[low, high]]), OBJECT)
        assert result.regressed.any() == result.peaks.any() == fits
        assert result.heatmap.any()  # negatives near it are spared on every level


def test_neighbours_that_predict_the_object_are_positive():
    made = head()
    expected = targets(made, OBJECT).distances
    assert targets(made, OBJECT).peaks.nonzero().tolist() == [[5, 1]]
    peaks = targets(made, OBJECT, preds=expected).peaks
    # The kth of the losses must not be reached: all are 0, so that none is below it.
    assert peaks.sum() == 0
    good = torch.zeros_like(expected)
    good[[0, 6]] = expected[[0, 6]]
    good[6, 0] += 0.1
    assert targets(made, OBJECT, preds=good).peaks.nonzero().tolist() == [[0, 1], [5, 1], [6, 1]]
    twice = targets(made, OBJECT, OBJECT).peaks
    assert twice[5, 1] == 2


def test_losses_by_hand():
    outs = zeros(2, 4, size=4)
    made = head()
    losses = made.loss(type(made(feats()))(*outs), batch_of(truth(OBJECT), height=32, width=32))
    heat = targets(made, OBJECT).heatmap
    elsewhere = 0.75 * (math.log(2) / 4 * (1 - heat) ** 4).sum().item()
    assert losses['loss_cls'].item() == pytest.approx(0.25 * math.log(2) / 4 + elsewhere)
    assert losses['loss_bbox'].item() == pytest.approx(2.0)  # empty boxes inside of the object: a GIoU of 0


def feats():
    torch.manual_seed(0)
    return [torch.randn(1, 4, 4, 4)]


@pytest.mark.parametrize('objects', [[OBJECT], []])
def test_gradients(objects):
    made = head(soft_weight_on_reg=True)
    losses = made.loss(made(feats()), batch_of(truth(*objects), height=32, width=32))
    sum(losses.values()).backward()
    lacking = [name for name, parameter in made.named_parameters() if parameter.grad is None]
    assert not lacking


def test_predictions_are_decoded_in_strides():
    made = head()
    outs = made(feats())
    outs.cls_scores[0].fill_(-9)
    outs.cls_scores[0][0, 1, 1, 1] = 2
    outs.distances[0].fill_(1.5)
    (detections,) = made.predict(outs, [meta(32, 32)])
    assert detections.bboxes.tolist() == [[0, 0, 24, 24]] and detections.labels.tolist() == [1]
    assert detections.scores.tolist() == pytest.approx([torch.tensor(2.0).sigmoid().item()])


def test_arguments_that_make_no_sense():
    with pytest.raises(ValueError, match='1 regress_ranges for 2 strides'):
        head(strides=[8, 16])
    with pytest.raises(TypeError, match='GaussianFocalLoss'):
        head(loss_cls=dict(type='FocalLoss'))
