"""`decode` gives all boxes and scores, with shapes that follow from the features, and `predict` selects among them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.models.dense_heads.detections import PostProcessing, finish_predictions
from mmkit.structures import Instances
from tests.models.dense_heads.query.test_detr_head import deformable, detr, levels
from tests.models.dense_heads.test_without_objects import HEADS, made
from tests.models.scenes import meta

METAS = [meta(48, 48), meta(40, 44, scale=2)]
# RPN counts no classes, YOLOX' boxes are not clipped, PAA moves its boxes after NMS; and untrained cells may
# score the same, so that either comes first.
NOT_BY_NMS_ALONE = ('rpn', 'guided, rpn', 'yolox', 'paa', 'guided, retina')
EVERYTHING = PostProcessing(nms=dict(type='nms', iou_threshold=0.6), max_per_img=20)
QUERIES = {
    'detr': lambda: detr(in_channels=8),
    'deformable detr': deformable,
    'deformable detr, refined': lambda: deformable(with_box_refine=True),
    'deformable detr, two stages': lambda: deformable(as_two_stage=True, with_box_refine=True),
}


def head_and_features(name: str):
    head, feats = made(name) if name in HEADS else (QUERIES[name](), levels())
    return head.eval(), tuple(feats)


class Decoding(nn.Module):
    """From features to boxes and scores."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, feats):
        return self.head.decode(self.head(feats), METAS)


@pytest.mark.parametrize('name', [*HEADS, *QUERIES])
def test_boxes_are_in_the_image_and_scores_are_probabilities(name):
    head, feats = head_and_features(name)
    with torch.no_grad():
        bboxes, scores = Decoding(head)(feats)
    assert bboxes.shape == (2, scores.shape[1], 4) and scores.shape[2] == head.num_classes
    assert ((scores >= 0) & (scores <= 1)).all()
    if not name.startswith(('yolo', 'tood')):  # whose boxes are not clipped
        for image_bboxes, each in zip(bboxes, METAS):
            height, width = each.img_shape
            assert image_bboxes.min() >= 0
            assert image_bboxes[:, 0::2].max() <= width and image_bboxes[:, 1::2].max() <= height


@pytest.mark.parametrize('name', [name for name in HEADS if name not in NOT_BY_NMS_ALONE])
def test_selection_and_nms_over_all_boxes_are_what_is_predicted(name):
    head, feats = head_and_features(name)
    with torch.no_grad():
        outs = head(feats)
        predictions = head.predict(outs, METAS, cfg=vars(EVERYTHING))
        for bboxes, scores, each, predicted in zip(*head.decode(outs, METAS), METAS, predictions):
            box, label = (scores > 0).nonzero(as_tuple=True)
            expected = finish_predictions(
                Instances(bboxes=bboxes[box], labels=label, scores=scores[box, label]), each, EVERYTHING, rescale=True
            )
            torch.testing.assert_close(predicted.scores, expected.scores)
            torch.testing.assert_close(predicted.bboxes, expected.bboxes)
            assert predicted.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize('name', QUERIES)
def test_the_best_scores_of_queries_are_what_is_predicted(name):
    head, feats = head_and_features(name)
    with torch.no_grad():
        outs = head(feats)
        all_bboxes, all_scores = head.decode(outs, METAS)
        for bboxes, scores, predicted in zip(all_bboxes, all_scores, head.predict(outs, METAS, rescale=False)):
            if not head.use_sigmoid_cls:
                scores = scores * (scores == scores.amax(dim=1, keepdim=True))  # one class a query
            best, inds = scores.flatten().topk(len(predicted))
            torch.testing.assert_close(predicted.scores, best)
            assert predicted.labels.tolist() == (inds % head.num_classes).tolist()
            torch.testing.assert_close(predicted.bboxes, bboxes[inds // head.num_classes])


@pytest.mark.parametrize(
    'name',
    [
        'retina',
        'guided',
        'tood',
        'sabl',
        'fcos, improved',
        'atss',
        'gfl',
        'ssd',
        'yolov3',
        'yolox',
        'rpn',
        'detr',
        *list(QUERIES)[2:],
    ],
)
def test_an_exported_head_computes_the_same(name):
    head, feats = head_and_features(name)
    decoding = Decoding(head)
    with torch.no_grad():
        exported = torch.export.export(decoding, (feats,)).module()
        other = tuple(torch.rand_like(feat) for feat in feats)
        for result, expected in zip(exported(other), decoding(other), strict=True):
            torch.testing.assert_close(result, expected)
