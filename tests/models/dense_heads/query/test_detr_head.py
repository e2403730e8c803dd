from __future__ import annotations

import math

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.dense_heads.query.cells import resize_mask
from mmkit.models.dense_heads.query.outputs import QueryOuts
from mmkit.models.dense_heads.query.query_head import padding_mask
from mmkit.models.dense_heads.query.references import inverse_sigmoid, refine_references
from tests.models.scenes import batch_of, meta, truth

ATTENTION = dict(type='MultiheadAttention', embed_dims=8, num_heads=2)
DEFORMABLE = dict(type='MultiScaleDeformableAttention', embed_dims=8, num_heads=2, num_levels=2, num_points=2)
ENCODER = dict(
    type='BaseTransformerLayer', feedforward_channels=8, operation_order=('self_attn', 'norm', 'ffn', 'norm')
)
DECODER = dict(
    type='DetrTransformerDecoderLayer',
    feedforward_channels=8,
    operation_order=('self_attn', 'norm', 'cross_attn', 'norm', 'ffn', 'norm'),
)
ENCODING = dict(type='SinePositionalEncoding', num_feats=4, normalize=True)
ASSIGNER = dict(
    type='HungarianAssigner',
    cls_cost=dict(type='ClassificationCost', weight=1.0),
    reg_cost=dict(type='BBoxL1Cost', weight=5.0),
    iou_cost=dict(type='IoUCost', iou_mode='giou', weight=2.0),
)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, loss_weight=2.0)
SIZE = 20


def detr(**arguments):
    torch.manual_seed(0)
    transformer = dict(
        type='Transformer',
        encoder=dict(type='DetrTransformerEncoder', num_layers=1, transformerlayers=dict(ENCODER, attn_cfgs=ATTENTION)),
        decoder=dict(
            type='DetrTransformerDecoder',
            num_layers=2,
            return_intermediate=True,
            transformerlayers=dict(DECODER, attn_cfgs=ATTENTION),
        ),
    )
    cfg = dict(
        type='DETRHead',
        num_classes=2,
        in_channels=4,
        num_query=3,
        transformer=transformer,
        positional_encoding=ENCODING,
        train_cfg=dict(assigner=ASSIGNER),
    )
    return build_head(cfg | arguments)


def deformable(**arguments):
    torch.manual_seed(0)
    layers = dict(DECODER, attn_cfgs=[ATTENTION, DEFORMABLE])
    transformer = dict(
        type='DeformableDetrTransformer',
        num_feature_levels=2,
        two_stage_num_proposals=3,
        encoder=dict(
            type='DetrTransformerEncoder', num_layers=1, transformerlayers=dict(ENCODER, attn_cfgs=DEFORMABLE)
        ),
        decoder=dict(
            type='DeformableDetrTransformerDecoder', num_layers=3, return_intermediate=True, transformerlayers=layers
        ),
    )
    cfg = dict(
        type='DeformableDETRHead',
        num_classes=2,
        in_channels=8,
        num_query=3,
        transformer=transformer,
        positional_encoding=ENCODING,
        loss_cls=FOCAL,
        train_cfg=dict(assigner=dict(ASSIGNER, cls_cost=dict(type='FocalLossCost', weight=2.0))),
    )
    head = build_head(cfg | arguments)
    head.init_weights()
    return head.eval()


def levels():
    torch.manual_seed(1)
    return [torch.randn(2, 8, size, size) for size in (6, 3)]


def outputs(logits, boxes):
    """One layer, one image."""
    return QueryOuts(torch.tensor(logits)[None, None], torch.tensor(boxes)[None, None])


GT = truth(([2, 4, 6, 12], 1))  # centre (0.2, 0.4), size (0.2, 0.4) of an image of 20
BOXES = [[0.8, 0.8, 0.1, 0.1], [0.2, 0.4, 0.2, 0.4], [0.5, 0.5, 0.9, 0.9]]


def batch(*gts):
    return batch_of(*gts, height=SIZE, width=SIZE)


def test_padding_is_marked_and_shrinks_with_the_level():
    mask = padding_mask(torch.zeros(2, 3, 8, 8), [meta(8, 8), meta(4, 6)])
    assert not mask[0].any() and (~mask[1]).sum() == 24 and not mask[1, :4, :6].any()
    assert resize_mask(mask, torch.zeros(2, 1, 4, 4))[1].tolist() == [[False] * 3 + [True]] * 2 + [[True] * 4] * 2


def test_one_query_for_each_object():
    """The second query lies on the object; background is the label 2."""
    outs = outputs([[0.0] * 3] * 3, BOXES)
    targets = detr().targets(*outs[:2], [GT], batch(GT).metas)
    assert targets.positive.tolist() == [[[False, True, False]]] and targets.labels.tolist() == [[[2, 1, 2]]]
    torch.testing.assert_close(targets.bboxes, torch.tensor(BOXES[1:2])[None])


def test_losses_by_hand():
    """Uniform scores cost log 3; background weighs 0.1, in the sum and in what it is divided by."""
    losses = detr().loss(outputs([[0.0] * 3] * 3, BOXES), batch(GT))
    assert losses['loss_cls'] == pytest.approx(math.log(3) * (1 + 2 * 0.1) / (1 + 2 * 0.1))
    assert losses['loss_bbox'] == pytest.approx(0, abs=1e-5) and losses['loss_iou'] == pytest.approx(0, abs=1e-5)
    off = detr().loss(outputs([[0.0] * 3] * 3, [BOXES[0], [0.3, 0.4, 0.2, 0.4], BOXES[2]]), batch(GT))
    assert off['loss_bbox'] == pytest.approx(5 * 0.1)
    assert off['loss_iou'] == pytest.approx(2 * (1 - 1 / 3))  # half a width apart: a third of the union, no gap


def test_losses_without_objects():
    losses = detr().loss(outputs([[0.0] * 3] * 3, BOXES), batch(truth()))
    assert losses['loss_cls'] == pytest.approx(math.log(3) * 0.3 / 1)  # the divisor is at least 1
    assert losses['loss_bbox'] == 0 and losses['loss_iou'] == 0


def test_every_layer_has_its_losses():
    head = detr()
    outs = head([torch.rand(2, 4, 5, 5)], torch.zeros(2, SIZE, SIZE, dtype=torch.bool))
    assert outs.cls_scores.shape == (2, 2, 3, 3) and outs.bbox_preds.shape == (2, 2, 3, 4)
    assert ((outs.bbox_preds > 0) & (outs.bbox_preds < 1)).all()
    losses = head.loss(outs, batch(GT, truth()))
    assert losses.keys() == {p + n for p in ('', 'd0.') for n in ('loss_cls', 'loss_bbox', 'loss_iou')}


def test_softmax_predictions_take_one_class_a_query():
    logits = [[3.0, 0, 0], [0, 0, 9], [0, 4, 0]]
    metas = [meta(SIZE, SIZE, scale=2.0)]
    detections = detr().predict(outputs(logits, BOXES), metas)[0]
    assert detections.labels.tolist()[:2] == [1, 0]
    torch.testing.assert_close(detections.bboxes[1], torch.tensor([7.5, 7.5, 8.5, 8.5]))
    assert detections.bboxes[0].tolist() == pytest.approx([0.5, 0.5, 9.5, 9.5])
    assert len(detr(test_cfg=dict(max_per_img=1)).predict(outputs(logits, BOXES), metas)[0]) == 1


def test_sigmoid_predictions_may_take_several_classes_of_a_query():
    head = detr(loss_cls=FOCAL)
    detections = head.predict(outputs([[-9.0, -9], [4, 3], [-9, 2]], BOXES), [meta(SIZE, SIZE)], rescale=False)[0]
    assert detections.labels.tolist()[:3] == [0, 1, 1]
    torch.testing.assert_close(detections.scores[:3], torch.tensor([4.0, 3, 2]).sigmoid())
    torch.testing.assert_close(detections.bboxes[0], detections.bboxes[1])


def test_encoding_of_another_width_is_an_error():
    with pytest.raises(ValueError, match='num_feats must be half of the embed_dims 8, got 3'):
        detr(positional_encoding=dict(ENCODING, num_feats=3))


def test_logit_stays_finite():
    x = torch.tensor([0.0, 0.25, 1.0])
    assert inverse_sigmoid(x).isfinite().all()
    assert inverse_sigmoid(x)[1] == pytest.approx(math.log(1 / 3))


def test_references_move_in_logits():
    points, deltas = torch.tensor([[0.25, 0.5]]), torch.tensor([[1.0, 0, 0, -2]])
    result = refine_references(points, deltas)[0]
    expected = [1 / (1 + 3 * math.exp(-1)), 0.5, 0.5, 1 / (1 + math.exp(2))]  # points bring no size
    assert result.tolist() == pytest.approx(expected)
    boxes = torch.tensor([[0.25, 0.5, 0.75, 0.5]])
    torch.testing.assert_close(refine_references(boxes, torch.zeros(1, 4)), boxes)


VARIANTS = [dict(), dict(with_box_refine=True), dict(as_two_stage=True), dict(with_box_refine=True, as_two_stage=True)]


@pytest.mark.parametrize('variant', VARIANTS, ids=lambda variant: '+'.join(variant) or 'plain')
def test_variants_of_deformable_detr(variant):
    head = deformable(**variant)
    outs = head(levels(), torch.zeros(2, 48, 48, dtype=torch.bool))
    assert outs.cls_scores.shape == (3, 2, 3, 2) and outs.bbox_preds.shape == (3, 2, 3, 4)
    losses = head.loss(outs, batch(GT, truth()))
    prefixes = ['', 'd0.', 'd1.'] + ['enc_'] * head.as_two_stage
    assert losses.keys() == {p + n for p in prefixes for n in ('loss_cls', 'loss_bbox', 'loss_iou')}
    assert (outs.enc_cls_scores is not None) == head.as_two_stage
    branches = 3 + head.as_two_stage if head.with_box_refine else 1
    assert len({id(branch) for branch in head.reg_branches}) == branches


def test_refined_boxes_start_where_the_layer_before_ended():
    """With branches that move every box right by the same logit, each layer's boxes are that much further."""
    head = deformable(with_box_refine=True)
    for branch in head.reg_branches:
        branch[-1].bias.data.copy_(torch.tensor([0.5, 0, 0, 0]))
    steps = inverse_sigmoid(head(levels(), torch.zeros(2, 48, 48, dtype=torch.bool)).bbox_preds)
    torch.testing.assert_close(steps.diff(dim=0)[..., 0], torch.full((2, 2, 3), 0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(steps.diff(dim=0)[..., 1:], torch.zeros(2, 2, 3, 3), atol=1e-4, rtol=0)


def test_another_number_of_levels_is_an_error():
    with pytest.raises(ValueError, match='num_feature_levels is 2, the neck gives 1 levels'):
        deformable()(levels()[:1], torch.zeros(2, 48, 48, dtype=torch.bool))


def test_two_stages_start_from_the_best_cells():
    head = deformable(as_two_stage=True)
    outs = head(levels(), torch.zeros(2, 48, 48, dtype=torch.bool))
    best = outs.enc_cls_scores[..., 0].topk(3, dim=1).indices
    expected = outs.enc_bbox_preds.gather(1, best[..., None].expand(-1, -1, 4))
    torch.testing.assert_close(outs.bbox_preds[0], expected, atol=1e-4, rtol=1e-4)  # the branches start at zero


def test_padding_plays_no_part():
    """Pixels in the padding change nothing."""
    head, feats = deformable(), levels()
    mask = torch.ones(2, 48, 48, dtype=torch.bool)
    mask[:, :, :32] = False
    with torch.no_grad():
        first = head(feats, mask)
        for feat in feats:
            feat[..., feat.shape[-1] * 2 // 3 :] = 99.0
        second = head(feats, mask)
    torch.testing.assert_close(first.bbox_preds, second.bbox_preds)
    torch.testing.assert_close(first.cls_scores, second.cls_scores)


def test_settings_that_nothing_reads_are_named():
    with pytest.warns(UserWarning, match=r"test_cfg keys \['score_thr'\]"):
        detr(test_cfg=dict(max_per_img=5, score_thr=0.5))
    with pytest.raises(ValueError, match='DETRHead chooses among all priors'):
        detr(train_cfg=dict(assigner=ASSIGNER, sampler=dict(type='RandomSampler', num=4, pos_fraction=0.5)))
