from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import TOODHead
from mmkit.models.dense_heads.anchor.task_alignment import TaskDecomposition, normalized_alignment, sample_sides
from mmkit.models.dense_heads.anchor.tood_head import TOODOuts
from mmkit.protocols import Progress, TracksProgress
from tests.models.scenes import batch_of, meta, truth, zeros

TRAIN = dict(
    initial_epoch=4,
    initial_assigner=dict(type='ATSSAssigner', topk=9),
    assigner=dict(type='TaskAlignedAssigner', topk=13),
    alpha=1,
    beta=6,
    allowed_border=-1,
    pos_weight=-1,
)


def head(**arguments):
    return TOODHead(
        **dict(
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=2,
            norm_cfg=None,
            anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8]),
            loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, activated=True, beta=2.0),
            loss_bbox=dict(type='GIoULoss'),
            train_cfg=TRAIN,
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def outs():
    """Probabilities of 1/2; the box at the point (8, 8) is that of the whole image, the others are empty."""
    cls_scores, bboxes = zeros(2, 4)
    bboxes[0][0, 2:, 1, 1] = 2  # strides
    return TOODOuts([each + 0.5 for each in cls_scores], bboxes)


def test_names_of_parameters():
    names = {name.rpartition('.')[0] for name, _ in head().named_parameters()}
    assert names == {
        *(f'inter_convs.{i}.conv' for i in (0, 1)),
        *(
            f'{task}_decomp.{layer}'
            for task in ('cls', 'reg')
            for layer in ('layer_attention.0', 'layer_attention.2', 'reduction_conv.conv')
        ),
        *('tood_cls', 'tood_reg', 'cls_prob_module.0', 'cls_prob_module.2'),
        *('reg_offset_module.0', 'reg_offset_module.2', 'scales.0'),
    }


def test_layers_are_weighted_by_attention():
    decomposition = TaskDecomposition(feat_channels=1, num_layers=2, reduction=2)
    for parameter in decomposition.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(decomposition.reduction_conv.conv.weight)
    decomposition.layer_attention[2].bias.data[:] = torch.tensor([0.0, math.log(3)])  # 1/2 and 3/4
    feat = torch.tensor([8.0, 16.0]).view(1, 2, 1, 1)
    assert decomposition(feat, feat).item() == pytest.approx(8 / 2 + 16 * 3 / 4)


def test_sides_are_sampled_nearby():
    bboxes = torch.tensor([[[0.0, 2]], [[0, 1]], [[4, 6]], [[3, 8]]])[None]  # (0, 0, 4, 3) and (2, 1, 6, 8)
    offsets = torch.zeros(1, 8, 1, 2)
    assert sample_sides(bboxes, offsets).equal(bboxes)
    offsets[0, 1, 0, 0] = 0.5  # x of the left side of the first box
    assert sample_sides(bboxes, offsets)[0, :, 0, 0].tolist() == [1, 0, 4, 3]
    offsets[0, 5, 0, 1] = -2  # outside, where everything is 0: the right side would lie left of the other
    assert sample_sides(bboxes, offsets)[0, :, 0, 1].tolist() == [2, 1, 6, 8]


def test_losses_of_the_first_epochs_by_hand():
    losses = head().loss(outs(), batch_of(truth(([0, 0, 16, 16], 1))))
    # The point (8, 8) is in the middle, centerness 1; its box fits.
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_cls'].item() == pytest.approx(math.log(2) * 0.25 * (0.25 + 7 * 0.75))


def test_losses_of_later_epochs_by_hand():
    model = head()
    assert isinstance(model, TracksProgress)
    model.set_progress(Progress(epoch=4, max_epochs=12, iter=0, max_iters=1))
    losses = model.loss(outs(), batch_of(truth(([0, 0, 16, 16], 1))))
    # Alignment 1 at (8, 8): all eight probabilities are 1/2 off.
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_cls'].item() == pytest.approx(8 * 0.25 * math.log(2))
    heavy = head(train_cfg=dict(TRAIN, initial_epoch=0, pos_weight=3))
    losses = heavy.loss(outs(), batch_of(truth(([0, 0, 16, 16], 1))))
    assert losses['loss_cls'].item() == pytest.approx((6 + 3 * 2) * 0.25 * math.log(2))


def test_the_best_alignment_of_an_object_is_its_best_iou():
    alignment = normalized_alignment(
        torch.tensor([0.1, 0.4, 0.3]), torch.tensor([0.9, 0.8, 0.5]), torch.tensor([0, 0, 2]), num_gts=3
    )
    assert alignment.tolist() == pytest.approx([0.9 / 4, 0.9, 0.5], abs=1e-5)


@pytest.mark.parametrize('anchor_type', ['anchor_free', 'anchor_based'])
def test_boxes_are_in_strides_around_their_cells(anchor_type):
    model = head(anchor_type=anchor_type)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(model.scales[0].scale)
    cls_scores, bboxes = model([torch.rand(1, 8, 2, 2)])
    assert cls_scores[0].tolist() == torch.full((1, 2, 2, 2), 0.5).tolist()
    half = 1 if anchor_type == 'anchor_free' else 0.5  # exp(0) strides, or half the anchor
    assert bboxes[0][0, :, 1, 0].tolist() == [-half, 1 - half, half, 1 + half]


def test_predictions_are_not_clipped():
    probabilities, bboxes = outs()
    bboxes[0][0, 2:, 1, 1] = 3
    probabilities[0].fill_(0)
    probabilities[0][0, 1, 1, 1] = 0.7
    (detections,) = head().predict(TOODOuts(probabilities, bboxes), [meta()])
    assert detections.bboxes.tolist() == [[0, 0, 24, 24]]
    assert detections.scores.tolist() == [pytest.approx(0.7)] and detections.labels.tolist() == [1]


def test_positives_start_rare():
    model = head(num_dcn=1, in_channels=8)
    model.init_weights()
    assert model.tood_cls.bias[0].sigmoid().item() == pytest.approx(0.01)
    assert model.cls_prob_module[2].bias[0].sigmoid().item() == pytest.approx(0.01)
    assert model.inter_convs[0].conv.conv_offset.weight.abs().sum() == 0


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(anchor_type='point'), 'anchor_type'),
        (dict(reg_decoded_bbox=False), 'reg_decoded_bbox'),
        (dict(loss_cls=dict(type='FocalLoss')), 'QualityFocalLoss'),
        (dict(train_cfg=dict(TRAIN, assigner=dict(type='ATSSAssigner', topk=9))), 'TaskAlignedAssigner'),
        (dict(anchor_generator=dict(type='AnchorGenerator', scales=[1, 2], ratios=[1.0], strides=[8])), 'one anchor'),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises((ValueError, TypeError), match=word):
        head(**change)
