from __future__ import annotations

import math

import pytest
import torch

from mmkit.models import build_head
from mmkit.protocols import RoITargets
from tests.models.roi_heads.parts import (
    BBOX,
    EXTRACTOR,
    MASK,
    MASK_EXTRACTOR,
    TEST,
    TRAIN,
    feats,
    proposals,
    samples,
    scene,
)
from tests.models.scenes import batch_of, truth

HLR = dict(type='ScoreHLRSampler', num=8, pos_fraction=0.5, k=0.5, bias=0.0)
PRIME = dict(isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2))


def head(bbox_head=BBOX, **arguments):
    torch.manual_seed(0)
    return build_head(
        dict(type='PISARoIHead', bbox_head=bbox_head, bbox_roi_extractor=EXTRACTOR, test_cfg=TEST)
        | dict(train_cfg=dict(TRAIN, sampler=HLR, **PRIME))
        | arguments
    )


@pytest.mark.parametrize('empty', [False, True])
def test_every_parameter_learns(empty):
    built = head() if empty else head(mask_head=MASK, mask_roi_extractor=MASK_EXTRACTOR)
    batch = batch_of(truth(), truth(), height=32, width=32) if empty else scene()
    losses = built.loss(feats(), proposals(), batch)
    assert {'loss_cls', 'loss_bbox', 'loss_carl', 'acc'} <= losses.keys()
    sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())
    assert empty or losses['loss_carl'] > 0


def test_weights_of_negatives_reach_the_loss():
    built = head()
    sampled = built.sample(feats(), proposals(), scene())
    targets = built.bbox_head.targets(sampled)
    start = 0
    for each in sampled:
        count = len(each.pos_inds)
        assert (targets.label_weights[start : start + count] == 1).all()
        assert targets.label_weights[start + count : start + len(each.bboxes)].equal(each.neg_weights)
        start += len(each.bboxes)


def test_losses_by_hand():
    """Two positives of one object: the better box counts fully, the other one a quarter."""
    coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4)
    built = head(dict(type='BBoxHead', in_channels=4, roi_feat_size=1, num_classes=3, bbox_coder=coder))
    gts = truth(([0, 0, 10, 10], 1))
    sampled = samples([[0, 0, 10, 10], [0, 0, 10, 20]], [[20, 20, 30, 30]], gts, [0, 0])
    rois = torch.cat([torch.zeros(3, 1), sampled.bboxes], dim=1)
    targets = built.bbox_head.targets([sampled])
    scores = torch.zeros(3, 4)
    scores[1, 1] = math.log(9)  # probability 3/4
    losses = built._box_losses(scores, torch.zeros(3, 12), rois, targets, [sampled])
    first, second = math.log(4), math.log(4 / 3)
    factor = (first + second) / (first + second / 4)
    assert losses['loss_cls'].item() == pytest.approx((factor * (first + second / 4) + math.log(4)) / 3)
    # Deltas of the second: dy = -0.25, dh = -log 2; smooth L1 halves their squares.
    box_loss = (0.25**2 + math.log(2) ** 2) / 2
    assert losses['loss_bbox'].item() == pytest.approx(box_loss / 3)
    weights = [0.2 + 0.8 * p for p in (0.25, 0.75)]
    assert losses['loss_carl'].item() == pytest.approx(box_loss * weights[1] * 2 / sum(weights) / 3)
    assert isinstance(targets, RoITargets) and targets.label_weights.tolist() == [1, 1, 1]


def test_without_settings_it_is_the_standard_head():
    plain, standard = (head(type=kind, train_cfg=TRAIN, bbox_head=BBOX) for kind in ('PISARoIHead', 'StandardRoIHead'))
    standard.load_state_dict(plain.state_dict())
    losses = []
    for built in (plain, standard):
        torch.manual_seed(0)
        losses.append(built.loss(feats(), proposals(), scene()))
    assert losses[0] == losses[1]


def test_what_is_refused():
    with pytest.raises(ValueError, match='ScoreHLRSampler'):
        build_head(
            dict(
                type='RPNHead',
                in_channels=4,
                train_cfg=dict(assigner=TRAIN['assigner'], sampler=dict(HLR, add_gt_as_proposals=False)),
            )
        )
