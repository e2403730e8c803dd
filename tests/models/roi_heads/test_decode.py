"""Static shapes: what export and compile see of a RoI head."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmkit.bbox import multiclass_nms
from mmkit.models import build_head
from mmkit.models.roi_heads.base_roi_head import best_pairs
from mmkit.structures import Instances
from tests.models.roi_heads.parts import BBOX, EXTRACTOR, MASK, MASK_EXTRACTOR, SIZE, TEST, feats, proposals
from tests.models.scenes import meta

CASCADE = dict(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 0.5])
HTC = dict(CASCADE, type='HybridTaskCascadeRoIHead', mask_head=dict(MASK, type='HTCMaskHead'))


def head(**arguments):
    torch.manual_seed(0)
    cfg = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=EXTRACTOR,
        bbox_head=BBOX,
        mask_roi_extractor=MASK_EXTRACTOR,
        mask_head=MASK,
        test_cfg=TEST,
    )
    return build_head(cfg | arguments).eval()


@pytest.mark.parametrize(('boxes', 'chosen'), [((4,), (0, 0)), ((8,), (1, 0))], ids=['agnostic', 'by class'])
def test_the_best_pairs_of_region_and_class(boxes, chosen):
    """Region 0 is sure of class 1; region 1 doubts, but even its second choice is better than region 0's."""
    scores = torch.tensor([[[0.05, 0.9], [0.5, 0.4]]])
    deltas = torch.arange(2.0 * boxes[0]).reshape(1, 2, -1)
    best, values, labels = best_pairs(deltas, scores)
    assert labels.tolist() == [[1, 0]] and values.tolist() == [[[0, pytest.approx(0.9)], [0.5, 0]]]
    rows = deltas.reshape(1, 2, -1, 4)
    assert best[0].tolist() == [rows[0, region, kind].tolist() for region, kind in enumerate(chosen)]


@torch.no_grad()
@pytest.mark.parametrize('kind', [{}, dict(mask_head=None), CASCADE, HTC], ids=['mask', 'boxes only', 'cascade', 'htc'])
def test_nms_of_the_decoded_boxes_gives_the_detections(kind):
    roi_head, metas = head(**kind), [meta(SIZE, SIZE)] * 2
    regions = torch.stack([proposals()[0].bboxes, proposals()[0].bboxes + 1])
    boxes, scores, *masks = roi_head.decode(feats(), regions, metas)
    lowest = float(scores.amax(2).min(1).values.max())  # more pairs than regions score above any lower threshold
    roi_head.test_cfg = replace(roi_head.test_cfg, score_thr=lowest)
    predicted = roi_head.predict(feats(), [Instances(bboxes=each) for each in regions], metas, rescale=False)
    assert boxes.shape == (2, 6, 4) and scores.shape == (2, 6, 3) and len(masks) == roi_head.with_mask
    for index, detections in enumerate(predicted):
        assert len(detections)
        padded = torch.cat([scores[index], torch.zeros(6, 1)], dim=1)
        again = multiclass_nms(boxes[index], padded, lowest, TEST['nms'], TEST['max_per_img'])
        torch.testing.assert_close(again.bboxes, detections.bboxes)
        torch.testing.assert_close(again.scores, detections.scores)
        assert again.labels.tolist() == detections.labels.tolist()


def test_masks_are_those_of_the_class_of_a_row():
    roi_head = head()
    boxes, scores, masks = roi_head.decode(
        feats(), torch.stack([each.bboxes[:5] for each in proposals()]), [meta()] * 2
    )
    assert masks.shape == (2, 5, 8, 8) and ((masks > 0) & (masks < 1)).all()
    row = Instances(bboxes=boxes[1, :1])
    pooled = roi_head.mask_roi_extractor(feats(), torch.cat([torch.ones(1, 1), row.bboxes], dim=1))
    expected = roi_head.mask_head(pooled).sigmoid()[0, scores[1, 0].argmax()]
    torch.testing.assert_close(masks[1, 0], expected)
