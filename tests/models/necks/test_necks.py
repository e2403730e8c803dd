from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.models.necks import BFP, FPN, HRFPN, PAFPN, YOLOXPAFPN, ChannelMapper, CSPNeXtPAFPN, SSDNeck, YOLOV3Neck
from mmkit.models.necks.ssd_neck import L2Norm

CHANNELS = [4, 8, 16, 32]
FEATS = [torch.rand(1, channels, 16 // 2**level, 16 // 2**level) for level, channels in enumerate(CHANNELS)]


def sizes(outs: tuple[torch.Tensor, ...]) -> list[int]:
    assert len({out.shape[1] for out in outs}) == 1
    return [out.shape[-1] for out in outs]


@pytest.mark.parametrize('neck', [FPN, PAFPN])
@pytest.mark.parametrize(
    'extra, sources',
    [(False, []), (True, [32, 6]), ('on_input', [32, 6]), ('on_lateral', [6, 6]), ('on_output', [6, 6])],
)
def test_extra_levels(neck, extra, sources):
    model = neck(CHANNELS, 6, 5, start_level=1, add_extra_convs=extra)
    assert sizes(model(FEATS)) == [8, 4, 2, 1, 1]
    assert [conv.in_channels for conv in model.fpn_convs[3:]] == sources
    sum(out.sum() for out in model(FEATS)).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_fpn_by_hand():
    model = FPN([1, 1], 1, 3)
    for conv in [*model.lateral_convs, *model.fpn_convs]:
        nn.init.dirac_(conv.conv.weight)
    fine, coarse = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 2, 2)
    outs = model([fine, coarse])
    assert torch.equal(outs[0], fine + F.interpolate(coarse, scale_factor=2))
    assert torch.equal(outs[1], coarse) and torch.equal(outs[2], coarse[..., ::2, ::2])


def test_fpn_levels_and_layers():
    assert sizes(FPN(CHANNELS, 6, 2, start_level=1, end_level=2)(FEATS)) == [8, 4]
    model = FPN(CHANNELS, 6, 4, no_norm_on_lateral=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    assert model.lateral_convs[0].norm is None and model.fpn_convs[0].norm is not None
    scaled = FPN(CHANNELS, 6, 4, upsample_cfg=dict(mode='bilinear', scale_factor=2, align_corners=False))
    assert sizes(scaled(FEATS)) == [16, 8, 4, 2]


def test_relu_between_extra_convolutions():
    plain, relu = (FPN(CHANNELS, 6, 6, add_extra_convs=True, relu_before_extra_convs=flag) for flag in (False, True))
    relu.load_state_dict(plain.state_dict())
    first, second = plain(FEATS), relu(FEATS)
    assert torch.equal(first[4], second[4]) and not torch.equal(first[5], second[5])


@pytest.mark.parametrize(
    'arguments, error, word',
    [
        (dict(in_channels=4), TypeError, 'in_channels'),
        (dict(num_outs=3), ValueError, 'num_outs'),
        (dict(num_outs=3, end_level=1), ValueError, 'num_outs'),
        (dict(end_level=4), ValueError, 'end_level'),
        (dict(add_extra_convs='on_top'), ValueError, 'on_top'),
    ],
)
def test_fpn_mistakes(arguments, error, word):
    with pytest.raises(error, match=word):
        FPN(**{**dict(in_channels=CHANNELS, out_channels=6, num_outs=5), **arguments})


@pytest.mark.parametrize(
    'neck',
    [
        FPN(CHANNELS, 6, 5),
        HRFPN(CHANNELS, 6),
        ChannelMapper(CHANNELS, 6),
        BFP(4, 4),
        YOLOXPAFPN(CHANNELS, 6),
        CSPNeXtPAFPN(CHANNELS, 6),
        YOLOV3Neck(4, CHANNELS[::-1], CHANNELS[::-1]),
    ],
)
def test_number_of_inputs(neck):
    with pytest.raises(ValueError, match='got 2'):
        neck(FEATS[:2])


@pytest.mark.parametrize(
    'neck', [FPN([4, 8, 16, 64], 6, 5), HRFPN([4, 8, 16, 64], 6), ChannelMapper([4, 8, 16, 64], 6)]
)
def test_channels_of_inputs(neck):
    with pytest.raises(ValueError, match=r'in_channels is \[4, 8, 16, 64\], the backbone gives \[4, 8, 16, 32\]'):
        neck(FEATS)


def test_levels_that_fpn_does_not_use_may_be_anything():
    assert sizes(FPN([1, 8, 16, 32], 6, 3, start_level=1)(FEATS)) == [8, 4, 2]


def test_pafpn_by_hand():
    model = PAFPN([1, 1], 1, 2)
    for conv in [*model.lateral_convs, *model.fpn_convs, *model.pafpn_convs, *model.downsample_convs]:
        nn.init.dirac_(conv.conv.weight)
    fine, coarse = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 2, 2)
    outs = model([fine, coarse])
    first = fine + F.interpolate(coarse, scale_factor=2)
    assert torch.equal(outs[0], first) and torch.equal(outs[1], coarse + first[..., ::2, ::2])


@pytest.mark.parametrize('refine', [None, 'conv', 'non_local'])
def test_bfp(refine):
    feats = [torch.rand(1, 4, size, size) for size in (8, 4, 2)]
    outs = BFP(4, 3, refine_level=1, refine_type=refine)(feats)
    assert sizes(outs) == [8, 4, 2]
    if refine != 'conv':  # a non-local block starts as an identity
        mix = (F.max_pool2d(feats[0], 2) + feats[1] + F.interpolate(feats[2], scale_factor=2)) / 3
        assert torch.allclose(outs[0], feats[0] + F.interpolate(mix, scale_factor=2), atol=1e-6)
        assert torch.allclose(outs[2], feats[2] + F.max_pool2d(mix, 2), atol=1e-6)


def test_bfp_mistakes():
    with pytest.raises(ValueError, match='refine_type'):
        BFP(4, 3, refine_type='mlp')
    with pytest.raises(ValueError, match='refine_level'):
        BFP(4, 2, refine_level=2)


@pytest.mark.parametrize('pooling, with_cp', [('AVG', False), ('MAX', True)])
def test_hrfpn(pooling, with_cp):
    feats = [feat.clone().requires_grad_() for feat in FEATS]
    model = HRFPN(CHANNELS, 6, pooling_type=pooling, with_cp=with_cp)
    outs = model(feats)
    assert sizes(outs) == [16, 8, 4, 2, 1]
    sum(out.sum() for out in outs).backward()
    assert all(p.grad is not None for p in model.parameters())
    for arguments in (dict(norm_cfg=dict(type='BN')), dict(pooling_type='SUM')):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            HRFPN(CHANNELS, 6, **arguments)


def test_channel_mapper():
    model = ChannelMapper(
        CHANNELS[1:], 6, kernel_size=1, norm_cfg=dict(type='GN', num_groups=2), act_cfg=None, num_outs=5
    )
    assert sizes(model(FEATS[1:])) == [8, 4, 2, 1, 1]
    assert [conv.in_channels for conv in model.extra_convs] == [32, 6]
    assert ChannelMapper(CHANNELS, 6).extra_convs is None
    with pytest.raises(ValueError, match='num_outs'):
        ChannelMapper(CHANNELS, 6, num_outs=2)


def test_l2_norm():
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert torch.allclose(L2Norm(2, 20)(x).flatten(), torch.tensor([12.0, 16.0]))


@pytest.mark.parametrize('depthwise', [False, True])
def test_ssd_neck(depthwise):
    model = SSDNeck([4, 8], [4, 8, 8, 6], [2, 1], [1, 0], use_depthwise=depthwise, last_kernel_size=2)
    model.init_weights()
    assert (model.l2_norm.weight == 20).all()
    assert [tuple(out.shape[1:]) for out in model(FEATS[:2])] == [(4, 16, 16), (8, 8, 8), (8, 4, 4), (6, 3, 3)]
    plain = SSDNeck([4, 8], [4, 8, 8], [2], [1], l2_norm_scale=None)
    assert plain(FEATS[:2])[0] is FEATS[0]
    with pytest.raises(ValueError, match='level_strides'):
        SSDNeck([4, 8], [4, 8, 8], [2, 2], [1])
    with pytest.raises(ValueError, match='begins with'):
        SSDNeck([4, 8], [4, 6, 8], [2], [1])


def test_yolo_v3_neck():
    outs = YOLOV3Neck(3, [16, 8, 4], [6, 4, 2])(FEATS[:3])
    assert [tuple(out.shape[1:]) for out in outs] == [(6, 4, 4), (4, 8, 8), (2, 16, 16)]
    with pytest.raises(ValueError, match='num_scales|scales'):
        YOLOV3Neck(2, [16, 8, 4], [6, 4, 2])


@pytest.mark.parametrize('depthwise', [False, True])
@pytest.mark.parametrize('neck', [YOLOXPAFPN, CSPNeXtPAFPN])
def test_pafpn_of_csp_layers(neck, depthwise):
    model = neck(CHANNELS, 6, num_csp_blocks=1, use_depthwise=depthwise)
    assert sizes(model(FEATS)) == [16, 8, 4, 2]
    sum(out.sum() for out in model(FEATS)).backward()
    assert all(p.grad is not None for p in model.parameters())
