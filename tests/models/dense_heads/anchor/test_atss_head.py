from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import ATSSHead
from mmkit.structures import PriorInfo
from tests.models.scenes import batch_of, meta, truth, zeros


def head(**arguments):
    return ATSSHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8]),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='IoULoss', linear=True),
            train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9)),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_losses_by_hand():
    # The anchor (4, 4, 12, 12) has an IoU of 0.8, the others 0.125, 0 and 0: the threshold is 0.62.
    losses = head().loss(zeros(2, 4, 1), batch_of(truth(([2, 4, 12, 12], 1))))
    # Its middle (8, 8) is 6 from the left side and 4 from the three others; the loss of boxes is divided by at least 1.
    centrality = math.sqrt(4 / 6)
    assert losses['loss_bbox'].item() == pytest.approx(0.2 * centrality)
    assert losses['loss_centerness'].item() == pytest.approx(math.log(2))
    assert losses['loss_cls'].item() == pytest.approx(math.log(2) * 0.25 * (0.25 + 7 * 0.75))


def test_anchors_on_padding_are_counted_by_level():
    generator = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8, 16])
    built = head(anchor_generator=generator, train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=1)))
    given = []
    assigner = built.train_cfg.assigner
    assign = assigner.assign
    assigner.assign = lambda *args: given.append(args[3]) or assign(*args)
    outs = tuple([torch.zeros(1, c, 2, 2), torch.zeros(1, c, 1, 1)] for c in (2, 4, 1))
    built.loss(outs, batch_of(truth(([2, 4, 8, 12], 1)), pad_shape=(16, 8)))
    assert given == [PriorInfo(num_level_bboxes=[2, 1])]


def test_centerness_ranks_but_does_not_choose():
    cls_scores, bbox_preds, centers = zeros(2, 4, 1)
    cls_scores[0].fill_(-10)
    cls_scores[0][0, 0] = torch.tensor([[0.0, -10], [-10, 1.0]])
    centers[0][0, 0, 1, 1] = -4
    (detections,) = head().predict((cls_scores, bbox_preds, centers), [meta()])
    sure, vague = torch.tensor([1.0, -4.0]).sigmoid().tolist()
    assert detections.scores.tolist() == pytest.approx([0.5 * 0.5, sure * vague])
    assert detections.bboxes.tolist() == [[0, 0, 4, 4], [4, 4, 12, 12]]


def test_layers():
    built = head(pred_kernel_size=1)
    assert built.atss_cls.weight.shape == (2, 8, 1, 1)
    assert [name for name in built.state_dict() if name.startswith('scales')] == ['scales.0.scale']
    built.scales[0].scale.data.fill_(2)
    feats = [torch.rand(1, 4, 2, 2)]
    doubled = built(feats)[1][0]
    built.scales[0].scale.data.fill_(1)
    assert torch.allclose(doubled, 2 * built(feats)[1][0])
    with pytest.raises(ValueError, match='reg_decoded_bbox'):
        head(reg_decoded_bbox=False)
