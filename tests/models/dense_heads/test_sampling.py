from __future__ import annotations

import pytest

from mmkit.bbox.samplers import PseudoSampler, RandomSampler
from mmkit.models.dense_heads import ATSSHead, GFLHead, RetinaHead, YOLOXHead
from mmkit.models.dense_heads.sampling import dense_sampler

RANDOM = dict(type='RandomSampler', num=8, pos_fraction=0.5)


def test_all_priors_unless_asked_for_less():
    assert isinstance(dense_sampler({}, 'a head'), PseudoSampler)
    assert isinstance(dense_sampler(dict(sampler=dict(RANDOM, add_gt_as_proposals=False)), 'a head'), RandomSampler)


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
        dense_sampler(dict(sampler=sampler), 'a head')


BY_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)


def test_losses_that_see_all_priors_say_that_the_sampler_plays_no_part():
    cfg = dict(assigner=BY_IOU, sampler=dict(RANDOM, add_gt_as_proposals=False))
    with pytest.warns(UserWarning, match='RetinaHead: FocalLoss sees all priors'):
        head = RetinaHead(2, 4, feat_channels=4, loss_cls=dict(type='FocalLoss', use_sigmoid=True), train_cfg=cfg)
    assert isinstance(head.sampler, PseudoSampler) and not head.sampling


@pytest.mark.parametrize('head', [ATSSHead, GFLHead, YOLOXHead])
def test_heads_that_choose_themselves_take_no_sampler(head):
    def built(sampler):
        return head(2, 4, norm_cfg=None, feat_channels=4, train_cfg=dict(assigner=BY_IOU, sampler=sampler))

    with pytest.raises(ValueError, match=f'{head.__name__} chooses among all priors'):
        built(RANDOM)
    built(dict(type='PseudoSampler'))
