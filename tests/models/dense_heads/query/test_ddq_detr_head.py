from __future__ import annotations

import math

import pytest
import torch

from mmkit.bbox.boxes import cxcywh_to_xyxy
from mmkit.models import build_head
from mmkit.models.dense_heads.query.outputs import QueryOuts
from tests.models.dense_heads.query.test_detr_head import ASSIGNER
from tests.models.scenes import batch_of, truth

GT = truth(([2, 4, 6, 12], 1))  # centre (0.2, 0.4), size (0.2, 0.4) of an image of 20
BOXES = torch.tensor([[0.8, 0.8, 0.1, 0.1], [0.2, 0.4, 0.2, 0.4], [0.2, 0.4, 0.2, 0.2]])


def head():
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    assigner = dict(ASSIGNER, cls_cost=dict(type='FocalLossCost'))
    cfg = dict(type='DDQDETRHead', num_classes=2, num_layers=1, embed_dims=8, loss_cls=loss, aux_num_pos=2)
    return build_head({**cfg, 'train_cfg': dict(assigner=assigner)})


def outputs(counted: list[bool]) -> QueryOuts:
    return QueryOuts(torch.zeros(1, 1, 3, 2), BOXES[None, None], counted=torch.tensor(counted)[None, None])


def test_queries_that_do_not_count_neither_match_nor_cost():
    """Each of two classes costs log 2 for a query that counts; the object goes to the best one that does."""
    batch = batch_of(GT, height=20, width=20)
    everything = head().matched_losses(outputs([True] * 3), batch.gts, batch.metas)[0]
    assert everything['loss_cls'] == pytest.approx(6 * math.log(2))
    assert everything['loss_bbox'] == pytest.approx(0, abs=1e-5)
    without = head().matched_losses(outputs([True, False, True]), batch.gts, batch.metas)[0]
    assert without['loss_cls'] == pytest.approx(4 * math.log(2))
    assert without['loss_bbox'] == pytest.approx(5 * 0.2)  # half as high as the object


def test_scores_of_queries_that_do_not_count_are_zero():
    batch = batch_of(GT, height=20, width=20)
    assert head().decode(outputs([True, False, True]), batch.metas)[1].tolist() == [[[0.5] * 2, [0.0] * 2, [0.5] * 2]]


def test_dense_queries_are_as_good_as_their_boxes():
    """The two boxes on the object have IoU 1 and 1/2: qualities 1 and, as alignment is its sixth power, 1/64."""
    batch = batch_of(GT, height=20, width=20)
    scores = torch.full((1, 3, 2), 0.5)
    targets = head()._dense_targets(scores[0], cxcywh_to_xyxy(BOXES) * 20, GT, (20, 20))
    assert targets.labels.tolist() == [2, 1, 1]
    torch.testing.assert_close(targets.quality, torch.tensor([0, 1, 1 / 64]))
    losses = head().dense_losses(scores, BOXES[None], batch)
    focus = [2 * 0.25, 0.25 + 0.25, 0.25 + (0.5 - 1 / 64) ** 2]  # squared distances of both classes
    assert losses['aux_loss_cls'] == pytest.approx(math.log(2) * sum(focus) / (1 + 1 / 64), rel=1e-4)
    assert losses['aux_loss_bbox'] == pytest.approx(2 * (1 / 64) * (1 / 2) / (1 + 1 / 64), rel=1e-4)
    empty = head().dense_losses(scores, BOXES[None], batch_of(truth(), height=20, width=20))
    assert empty['aux_loss_cls'] == pytest.approx(6 * 0.25 * math.log(2)) and empty['aux_loss_bbox'] == 0
