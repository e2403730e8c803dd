"""Backbones that change one step of a residual network, and those of one-stage detectors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.models.backbones import (
    SSDVGG,
    VGG,
    CSPDarknet,
    CSPNeXt,
    Darknet,
    HRNet,
    MobileNetV2,
    RegNet,
    Res2Net,
    ResNeSt,
)
from mmkit.models.backbones.csp_backbone import SPPBottleneck
from mmkit.models.backbones.csp_darknet import Focus
from mmkit.models.backbones.mobilenet_v2 import make_divisible
from mmkit.models.backbones.regnet import quantised_widths
from mmkit.models.backbones.res2net import Bottle2neck
from mmkit.models.backbones.resnest import SplitAttentionConv2d

X = torch.rand(2, 3, 64, 64)
SMALL_HRNET = dict(
    stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(8,)),
    stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1, 1), num_channels=(4, 8)),
    stage3=dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
    stage4=dict(num_modules=2, num_branches=4, block='BASIC', num_blocks=(1, 1, 1, 1), num_channels=(4, 8, 16, 32)),
)


def outputs(model: nn.Module) -> list[tuple[int, ...]]:
    """Shapes in training mode; every parameter behind an output must learn."""
    outs = model.train()(X)
    sum(out.square().mean() for out in outs).backward()
    return [tuple(out.shape[1:]) for out in outs]


def without_gradient(model: nn.Module) -> set[str]:
    return {name.split('.')[0] for name, p in model.named_parameters() if p.grad is None}


def test_hrnet():
    model = HRNet(SMALL_HRNET)
    assert outputs(model) == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    assert not without_gradient(model)
    fine = HRNet(SMALL_HRNET, multiscale_output=False, zero_init_residual=True, with_cp=True)
    assert outputs(fine) == [(4, 16, 16)]
    assert len(fine.stage4[1].fuse_layers) == 1 and len(fine.stage4[0].fuse_layers) == 4
    fine.init_weights()
    assert (fine.stage2[0].branches[0][0].bn2.weight == 0).all()


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(stage2=dict(num_modules=1)), 'stage2 lacks'),
        (dict(stage2=dict(SMALL_HRNET['stage2'], block='WIDE')), 'WIDE'),
        (dict(stage2=dict(SMALL_HRNET['stage2'], num_blocks=(1,))), 'num_blocks'),
    ],
)
def test_hrnet_mistakes(change, word):
    with pytest.raises(ValueError, match=word):
        HRNet({**SMALL_HRNET, **change})
    with pytest.raises(ValueError, match='stage4'):
        HRNet({key: SMALL_HRNET[key] for key in ('stage1', 'stage2', 'stage3')})


def test_regnet_widths():
    assert quantised_widths(88, 26.31, 2.25, 25) == [88] * 2 + [200] * 6 + [448] * 15 + [1000] * 2
    model = RegNet('regnetx_3.2gf')
    assert model.stages == [(96, 96, 2), (192, 192, 4), (432, 432, 9), (1008, 1008, 21)]
    assert model.stage_blocks == (2, 6, 15, 2)


def test_regnet():
    model = RegNet(
        dict(w0=8, wa=4, wm=2.0, group_w=4, depth=8, bot_mul=1.0),
        stem_channels=4,
        strides=[2, 2, 2],
        dilations=[1, 1, 1],
        out_indices=[0, 1, 2],
    )
    assert outputs(model) == [(8, 16, 16), (16, 8, 8), (32, 4, 4)]
    for arguments, word in (
        (dict(arch='regnety'), 'regnety'),
        (dict(arch=dict(w0=1)), 'w0'),
        (dict(arch='regnetx_400mf', deep_stem=True), 'deep_stem'),
        (dict(arch='regnetx_400mf', base_channels=64), 'base_channels'),
    ):
        with pytest.raises(ValueError, match=word):
            RegNet(**arguments)


def test_res2net():
    model = Res2Net(50, base_channels=16)
    assert outputs(model) == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    assert len(model.layer1[0].convs) == 3 and model.layer1[0].conv1.out_channels == 26 * 4
    assert isinstance(model.layer1[0], Bottle2neck) and model.layer1[0].first and not model.layer1[1].first
    for arguments, word in ((dict(scales=1), 'scales'), (dict(avg_down=False), 'avg_down')):
        with pytest.raises(ValueError, match=word):
            Res2Net(50, **arguments)


def test_resnest():
    model = ResNeSt(50, base_channels=8, groups=2, base_width=4)
    assert outputs(model) == [(32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)]
    assert model.layer2[0].avd_layer.stride == 2 and isinstance(model.layer2[1].avd_layer, nn.Identity)
    assert isinstance(ResNeSt(50, base_channels=8, avg_down_stride=False).layer2[0].avd_layer, nn.Identity)


@pytest.mark.parametrize('groups', [1, 2])
def test_split_attention_sums_to_one(groups):
    layer = SplitAttentionConv2d(4, nn.Conv2d(4, 12, 1), groups, 3, 4, dict(type='BN')).eval()
    weights = layer._attention(torch.rand(2, 4, 1, 1))
    assert weights.shape == (2, 3, 4, 1, 1)
    assert torch.allclose(weights.sum(1), torch.ones(2, 4, 1, 1))


def test_mobilenet_v2():
    model = MobileNetV2(widen_factor=0.25, out_indices=range(8))
    assert outputs(model) == [
        (8, 32, 32),
        (8, 16, 16),
        (8, 8, 8),
        (16, 4, 4),
        (24, 4, 4),
        (40, 2, 2),
        (80, 2, 2),
        (1280, 2, 2),
    ]
    model = MobileNetV2(widen_factor=0.25, frozen_stages=2, norm_eval=True, with_cp=True).train()
    assert {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad} == {
        'conv1',
        'layer1',
        'layer2',
    }
    assert not model.layer7[0].linear_conv.bn.training
    for arguments, word in ((dict(out_indices=(8,)), 'out_indices'), (dict(frozen_stages=9), 'frozen_stages')):
        with pytest.raises(ValueError, match=word):
            MobileNetV2(**arguments)


@pytest.mark.parametrize('value, expected', [(32, 32), (24 * 0.25, 8), (35, 32), (36, 40), (11.5, 16), (3, 8)])
def test_make_divisible(value, expected):
    assert make_divisible(value, 8) == expected


def test_vgg():
    from torchvision.models import vgg11

    model = VGG(11, frozen_stages=2)
    with torch.device('meta'):
        theirs = {name: value.shape for name, value in vgg11().features.state_dict(prefix='features.').items()}
    assert {name: value.shape for name, value in model.state_dict().items()} == theirs
    assert outputs(model) == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert [p.requires_grad for p in model.parameters()][:6] == [False] * 4 + [True] * 2
    batch_normed = VGG(11, with_bn=True, bn_frozen=True, num_stages=2, dilations=(1, 1), out_indices=(1,)).train()
    assert not batch_normed.features[1].weight.requires_grad and not batch_normed.features[1].training
    with pytest.raises(ValueError, match='depth'):
        VGG(12)
    with pytest.raises(ValueError, match='dilations'):
        VGG(11, num_stages=2)


def test_ssd_vgg():
    model = SSDVGG(16)
    with torch.no_grad():
        assert [tuple(out.shape[1:]) for out in model(torch.rand(1, 3, 75, 75))] == [(512, 10, 10), (1024, 5, 5)]
    with pytest.warns(DeprecationWarning, match='input_size'):
        SSDVGG(11, input_size=300, out_feature_indices=(2,))
    with pytest.raises(ValueError, match='out_feature_indices'):
        SSDVGG(11, out_feature_indices=(99,))


def test_darknet_has_six_parts_to_freeze():
    Darknet(frozen_stages=6)
    with pytest.raises(ValueError, match='frozen_stages is from -1 to 6, got 7'):
        Darknet(frozen_stages=7)


def test_darknet():
    model = Darknet(53, frozen_stages=2)
    with torch.no_grad():
        assert [tuple(out.shape[1:]) for out in model(X[:1])] == [(256, 8, 8), (512, 4, 4), (1024, 2, 2)]
    assert {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad} == {
        'conv1',
        'conv_res_block1',
    }
    assert not model.train().conv_res_block5.conv.bn.training
    with pytest.raises(ValueError, match='depth'):
        Darknet(19)


@pytest.mark.parametrize('depthwise', [False, True])
@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_csp_backbones(backbone, depthwise):
    model = backbone(deepen_factor=0.33, widen_factor=0.125, out_indices=(0, 1, 2, 3, 4), use_depthwise=depthwise)
    assert outputs(model) == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    assert not without_gradient(model)


@pytest.mark.parametrize('backbone', [CSPDarknet, CSPNeXt])
def test_arguments_of_csp_backbones(backbone):
    own = backbone(arch_ovewrite=[[8, 16, 1, True, True]], out_indices=[1], frozen_stages=0, norm_eval=True).train()
    assert tuple(own(X)[0].shape[1:]) == (16, 16, 16)
    assert not any(p.requires_grad for p in own.stem.parameters()) and not own.stage1[0].bn.training
    assert len(backbone('P6', 0.33, 0.125).layers) == 6
    for arguments, word in (
        (dict(arch='P7'), 'P7'),
        (dict(out_indices=(5,)), 'out_indices'),
        (dict(frozen_stages=5), 'frozen_stages'),
    ):
        with pytest.raises(ValueError, match=word):
            backbone(**arguments)


def test_cspnext_takes_weights_of_a_classifier(tmp_path):
    small = dict(deepen_factor=0.1, widen_factor=0.125)
    trained = CSPNeXt(**small)
    names = {f'backbone.{name}': tensor for name, tensor in trained.state_dict().items()}
    torch.save(dict(state_dict={**names, 'head.fc.weight': torch.ones(2, 128)}), tmp_path / 'cspnext.pth')
    init_cfg = dict(type='Pretrained', prefix='backbone.', checkpoint=str(tmp_path / 'cspnext.pth'))
    model = CSPNeXt(**small, init_cfg=init_cfg)
    model.init_weights()
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_focus_and_pooling():
    kinds = dict(conv_cfg=None, norm_cfg=None, act_cfg=None)
    focus = Focus(1, 4, 1, **kinds)
    nn.init.eye_(focus.conv.conv.weight.data.view(4, 4))
    x = torch.tensor([[[[0.0, 2.0], [1.0, 3.0]]]])  # rows first, then columns
    assert focus(x).flatten().tolist() == [0.0, 1.0, 2.0, 3.0]
    assert SPPBottleneck(4, 6, (3, 5), **kinds).conv2.in_channels == 6
