from __future__ import annotations

import pytest
import torch

from mmkit.models.dense_heads import RepPointsHead
from tests.models.scenes import batch_of, meta, truth

MAX_IOU = dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0))


def head(**arguments):
    return RepPointsHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=4,
            point_feat_channels=4,
            stacked_convs=1,
            point_strides=[8],
            train_cfg=dict(init=dict(assigner=dict(type='PointAssigner', scale=4, pos_num=1)), refine=MAX_IOU),
            test_cfg=dict(nms_pre=10, score_thr=0.5, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_boxes_from_points():
    points = torch.tensor([[0.0, 1, 2, 5, 4, 3, -1, 0, 9, 9] + [1.0] * 8])  # y, x pairs
    assert head(transform_method='minmax').points_to_boxes(points).tolist() == [[0, -1, 9, 9]]
    assert head(transform_method='partial_minmax').points_to_boxes(points).tolist() == [[0, -1, 5, 4]]
    moment = head(transform_method='moment')
    torch.nn.init.constant_(moment.moment_transfer, torch.tensor(2.0).log())
    pairs = points.view(9, 2)
    center, spread = pairs.mean(0).flip(0), pairs.std(0).flip(0)
    wanted = torch.cat([center - 2 * spread, center + 2 * spread])
    torch.testing.assert_close(moment.points_to_boxes(points)[0], wanted)


def test_the_factors_of_moments_learn_slowly():
    model = head(moment_mul=0.5)
    model.points_to_boxes(torch.arange(18.0)[None]).sum(0)[2:].sum().backward()
    spread = torch.arange(0, 18, 2.0).std()
    torch.testing.assert_close(model.moment_transfer.grad, spread.expand(2) * 0.5)


def test_grids_over_regressed_boxes():
    deltas = torch.zeros(1, 4, 1, 1)
    deltas[0, 0] = 0.5
    points, boxes = head(use_grid_points=True)._grid(deltas, torch.tensor([-2.0, -2, 2, 2]).view(1, 4, 1, 1))
    assert boxes.flatten().tolist() == [0, -2, 4, 2]
    assert points.view(9, 2).tolist() == [[y, x] for y in (-2, 0, 2) for x in (0, 2, 4)]


def test_the_first_stage_knows_points_and_the_second_boxes():
    scores, square = torch.zeros(1, 2, 4, 4), torch.zeros(1, 18, 4, 4)
    square[:, 0::2] = torch.tensor([-1.0, 0, 1]).repeat_interleave(3).view(1, 9, 1, 1)
    square[:, 1::2] = torch.tensor([-1.0, 0, 1]).repeat(3).view(1, 9, 1, 1)
    losses = head(transform_method='minmax').loss(
        ([scores], [square], [square]), batch_of(truth(([8, 8, 24, 24], 1)), height=32, width=32)
    )
    # Around the point (16, 16) the square of two strides is the object; only it is positive in both stages.
    assert losses['loss_pts_init'] == 0 and losses['loss_pts_refine'] == 0
    losses = head(transform_method='minmax').loss(
        ([scores], [square * 2], [square]), batch_of(truth(([8, 8, 24, 24], 1)), height=32, width=32)
    )
    # Corners 8 pixels off, a quarter of the normal size of 32: 0.25 less half of beta, weighted by a half.
    assert losses['loss_pts_init'].item() == pytest.approx(0.5 * 4 * (0.25 - 1 / 18), rel=1e-5)


def test_boxes_by_hand():
    scores, points = torch.full((1, 2, 4, 4), -9.0), torch.zeros(1, 18, 4, 4)
    scores[0, 1, 2, 1] = 4
    points[0, 0], points[0, 3] = -1, 2
    model = head(transform_method='minmax')
    (detections,) = model.predict(([scores], [points], [points]), [meta(32, 32)])
    assert detections.bboxes.tolist() == [[8, 8, 24, 16]]


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(num_points=8), 'square of an odd number'),
        (dict(transform_method='mean'), 'transform_method'),
        (dict(train_cfg=dict(init=MAX_IOU)), "needs 'refine'"),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        head(**change)
