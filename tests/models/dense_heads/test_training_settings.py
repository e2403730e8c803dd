from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.bbox import Assignment
from mmkit.bbox.assigners import BaseAssigner
from mmkit.bbox.samplers import PseudoSampler, RandomSampler
from mmkit.models.dense_heads import ATSSHead, DETRHead, GFLHead, RetinaHead, YOLOXHead
from mmkit.models.dense_heads.training_settings import build_sampler
from mmkit.models.losses import GHMC, GHMR, FocalLoss, QualityFocalLoss
from tests.models.scenes import batch_of, truth

RANDOM = dict(type='RandomSampler', num=8, pos_fraction=0.5)


def test_all_priors_unless_asked_for_less():
    assert isinstance(build_sampler(None, 'a head'), PseudoSampler)
    assert isinstance(build_sampler(dict(RANDOM, add_gt_as_proposals=False), 'a head'), RandomSampler)


@pytest.mark.parametrize(
    ('sampler', 'message'),
    [
        (RANDOM, 'a head: .* add_gt_as_proposals=False'),
        (dict(RANDOM, type='OHEMSampler', add_gt_as_proposals=False), 'a head: OHEMSampler .* second stage'),
    ],
)
def test_what_needs_a_second_stage_is_refused(sampler, message):
    """An added ground truth would shift the indices of all priors by one."""
    with pytest.raises(ValueError, match=message):
        build_sampler(sampler, 'a head')


BY_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)


SIM_OTA, GRID = dict(type='SimOTAAssigner'), dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)


@pytest.mark.parametrize(
    ('head', 'assigner', 'message'),
    [
        (RetinaHead, SIM_OTA, 'RetinaHead cannot train with SimOTAAssigner, which needs points, scores: .* boxes'),
        (GFLHead, GRID, 'GFLHead cannot train with GridAssigner, which needs responsible'),
        (YOLOXHead, GRID, 'YOLOXHead cannot train with GridAssigner, .* boxes, points, scores'),
        (ATSSHead, dict(type='ATSSAssigner', topk=9, alpha=0.8), 'ATSSAssigner, which needs bbox_preds, scores'),
    ],
)
def test_an_assigner_that_needs_what_the_head_has_not_is_refused(head, assigner, message):
    with pytest.raises(TypeError, match=message):
        head(2, 4, feat_channels=4, norm_cfg=None, train_cfg=dict(assigner=assigner))


@pytest.mark.parametrize('kind', [RetinaHead, ATSSHead, GFLHead])
@pytest.mark.parametrize('assigner', [BY_IOU, dict(type='ATSSAssigner', topk=1)])
def test_anchors_are_assigned_by_iou_or_by_level(kind, assigner):
    """Of 8 x 8 anchors with an edge of 8 pixels, one covers the object and no other overlaps it by half."""
    grid = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8], center_offset=0.5)
    head = kind(2, 4, feat_channels=4, norm_cfg=None, anchor_generator=grid, train_cfg=dict(assigner=assigner))
    scores = torch.zeros(1, head.cls_out_channels, 8, 8)
    anchors = torch.cat(head.anchors([scores]))
    targets = head.targets(anchors, [(8, 8)], batch_of(truth(([8, 16, 16, 24], 1)), height=64, width=64))
    assert (targets.labels[0] == 1).nonzero().tolist() == [[2 * 8 + 1]] and targets.num_pos == 1


class MyFocal(FocalLoss):
    """A user's variant."""


class MyGHM(GHMC):
    """A user's variant."""


class MyBoxGHM(GHMR):
    """A user's variant."""


class MyQFL(QualityFocalLoss):
    """A user's variant."""


class PlainLoss(nn.Module):
    """A user's loss in mmdetection's way, which derives from nothing of ours."""

    use_sigmoid = True

    def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
        return pred.sum() * 0 + 1


@pytest.mark.parametrize('loss', [FocalLoss, MyFocal, MyGHM, MyQFL])
def test_losses_that_see_all_priors_say_that_the_sampler_has_no_effect(loss):
    cfg = dict(assigner=BY_IOU, sampler=dict(RANDOM, add_gt_as_proposals=False))
    with pytest.warns(UserWarning, match=f'RetinaHead: {loss.__name__} sees all priors'):
        head = RetinaHead(2, 4, feat_channels=4, loss_cls=dict(type=loss, use_sigmoid=True), train_cfg=cfg)
    assert isinstance(head.train_cfg.sampler, PseudoSampler)


def test_a_users_loss_need_not_derive_from_ours():
    cfg = dict(assigner=BY_IOU, sampler=dict(RANDOM, add_gt_as_proposals=False))
    head = RetinaHead(2, 4, feat_channels=4, loss_cls=dict(type=PlainLoss), train_cfg=cfg)
    assert isinstance(head.train_cfg.sampler, RandomSampler) and head.cls_out_channels == 2
    feats = [torch.zeros(1, 4, size, size) for size in (8, 4, 2, 1, 1)]
    losses = head.loss(head(feats), batch_of(truth(([8, 16, 16, 24], 1)), height=64, width=64))
    assert losses['loss_cls'] == 1


def test_a_users_variant_of_a_loss_with_statistics_is_called_for_each_level():
    losses = dict(loss_cls=dict(type=MyGHM, bins=5), loss_bbox=dict(type=MyBoxGHM, bins=5))
    head = RetinaHead(2, 4, feat_channels=4, **losses, train_cfg=dict(assigner=BY_IOU))
    calls = []
    head.loss_cls.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    head.loss_bbox.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    feats = [torch.zeros(1, 4, size, size) for size in (8, 4, 2, 1, 1)]
    head.loss(head(feats), batch_of(truth(([8, 16, 40, 48], 1)), height=64, width=64))
    assert calls[:5] == [9 * size * size for size in (8, 4, 2, 1, 1)] and len(calls) > 5


def test_a_users_variant_of_quality_focal_loss_serves_gfl():
    head = GFLHead(2, 4, feat_channels=4, norm_cfg=None, loss_cls=dict(type=MyQFL), train_cfg=dict(assigner=BY_IOU))
    assert head.use_sigmoid_cls
    with pytest.raises(TypeError, match='GFLHead: loss_cls is a QualityFocalLoss'):
        GFLHead(2, 4, feat_channels=4, norm_cfg=None, loss_cls=dict(type=MyFocal))


class ByClass(BaseAssigner):
    """A user's assigner: every prior is positive."""

    def assign(self, bboxes, gts, ignored=None, info=None):
        return Assignment.from_gt_inds(torch.zeros(len(bboxes), dtype=torch.long), torch.ones(len(bboxes)), gts)


class Silent:
    """A user's assigner that does not say what it needs."""

    def assign(self, bboxes, gts, ignored=None):
        raise AssertionError


def test_a_users_assigner_says_what_it_needs():
    head = RetinaHead(2, 4, feat_channels=4, train_cfg=dict(assigner=dict(type=ByClass)))
    anchors = torch.zeros(9, 4)
    targets = head.targets(anchors, [(1, 1)] + [(0, 0)] * 4, batch_of(truth(([0, 0, 8, 8], 1)), height=8, width=8))
    assert targets.labels.tolist() == [[1] * 9]
    with pytest.raises(TypeError, match='Silent must say what it `needs`: derive it from BaseAssigner'):
        RetinaHead(2, 4, feat_channels=4, train_cfg=dict(assigner=dict(type=Silent)))


def test_an_assigner_must_pair_queries_with_objects():
    with pytest.raises(TypeError, match='queries need a HungarianAssigner, MaxIoUAssigner does not'):
        DETRHead(2, 4, train_cfg=dict(assigner=BY_IOU))


@pytest.mark.parametrize(('head', 'assigner'), [(ATSSHead, BY_IOU), (GFLHead, BY_IOU), (YOLOXHead, SIM_OTA)])
def test_heads_that_choose_themselves_take_no_sampler(head, assigner):
    def built(sampler):
        return head(2, 4, norm_cfg=None, feat_channels=4, train_cfg=dict(assigner=assigner, sampler=sampler))

    with pytest.raises(ValueError, match=f'{head.__name__} chooses among all priors'):
        built(RANDOM)
    built(dict(type='PseudoSampler'))
