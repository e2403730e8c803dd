from __future__ import annotations

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.dense_heads import RetinaHead, RetinaSepBNHead, RPNHead

FOCAL = dict(type='FocalLoss', use_sigmoid=True)
BN = dict(type='BN', requires_grad=True)


def test_two_towers_and_nine_anchors():
    head = RetinaHead(num_classes=3, in_channels=4, stacked_convs=2, feat_channels=8, loss_cls=FOCAL)
    names = {name.rsplit('.', 1)[0] for name, _ in head.named_parameters()}
    towers = {f'{kind}_convs.{i}.conv' for kind in ('cls', 'reg') for i in (0, 1)}
    assert names == towers | {'retina_cls', 'retina_reg'}
    scores, deltas = head([torch.rand(2, 4, 4, 4), torch.rand(2, 4, 2, 2)])
    assert [tuple(x.shape) for x in scores] == [(2, 27, 4, 4), (2, 27, 2, 2)]
    assert [tuple(x.shape) for x in deltas] == [(2, 36, 4, 4), (2, 36, 2, 2)]


def test_objects_are_improbable_at_the_start():
    torch.manual_seed(0)
    for head in (
        RetinaHead(num_classes=3, in_channels=4, feat_channels=8, loss_cls=FOCAL),
        RetinaSepBNHead(num_classes=3, num_ins=2, in_channels=4, feat_channels=8, norm_cfg=BN, loss_cls=FOCAL),
    ):
        head.init_weights()
        assert head.retina_cls.bias.sigmoid().tolist() == pytest.approx([0.01] * len(head.retina_cls.bias))
        assert head.retina_reg.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_levels_share_convolutions_but_not_norms():
    head = RetinaSepBNHead(
        num_classes=3, num_ins=2, in_channels=4, stacked_convs=1, feat_channels=8, norm_cfg=BN, loss_cls=FOCAL
    )
    assert head.cls_convs[1][0].conv is head.cls_convs[0][0].conv
    assert head.cls_convs[1][0].bn is not head.cls_convs[0][0].bn
    assert head.reg_convs[0][0].conv is not head.cls_convs[0][0].conv
    assert {'cls_convs.1.0.conv.weight', 'reg_convs.1.0.bn.running_mean'} <= head.state_dict().keys()
    head([torch.rand(2, 4, 4, 4), torch.rand(2, 4, 2, 2) + 5])
    assert not torch.equal(head.cls_convs[0][0].bn.running_mean, head.cls_convs[1][0].bn.running_mean)
    with pytest.raises(ValueError, match='init_cfg'):
        RetinaSepBNHead(num_classes=3, num_ins=2, in_channels=4, init_cfg=dict(type='Normal', layer='Conv2d'))


class OneTowerHead(RetinaHead):
    """A user's variant without a constructor of its own."""


@pytest.mark.parametrize('kind', [RetinaHead, OneTowerHead, RPNHead])
def test_arguments_of_the_base_are_taken_and_others_refused_by_name(kind):
    def built(**arguments):
        return build_head(dict(type=kind, num_classes=1, in_channels=4, **arguments))

    assert built(reg_decoded_bbox=True).reg_decoded_bbox
    with pytest.raises(
        TypeError, match=f"{kind.__name__} has no argument 'feat_channel'; the nearest is 'feat_channels'"
    ):
        built(feat_channel=8)
