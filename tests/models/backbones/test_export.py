"""`torch.export` of a backbone and its neck gives a program with the same outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mmkit.models  # noqa: F401 - registers everything
from mmkit.registry import BACKBONES, NECKS

HRNET = dict(
    stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(8,)),
    stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1, 1), num_channels=(4, 8)),
    stage3=dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
    stage4=dict(num_modules=1, num_branches=4, block='BASIC', num_blocks=(1, 1, 1, 1), num_channels=(4, 8, 16, 32)),
)
REGNET = dict(w0=8, wa=4, wm=2.0, group_w=4, depth=8, bot_mul=1.0)
REPVGG = dict(num_blocks=[1] * 4, width_factor=[0.25] * 4, group_layer_map=None, se_cfg=dict(ratio=4, divisor=1))
CONVNEXT = dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 16])
DCN = dict(dcn=dict(type='DCNv2'), stage_with_dcn=(False, False, False, True))
FPN = dict(type='FPN', out_channels=8, num_outs=5)
SSD_NECK = dict(type='SSDNeck', out_channels=(512, 1024, 32), level_strides=(2,), level_paddings=(1,))
TOP_DOWN = dict(type='YOLOV3Neck', num_scales=3)
FAST = [
    (dict(type='ResNet', depth=18, base_channels=8), FPN),
    (dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='GN', num_groups=4)), FPN),
    (dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='SyncBN')), dict(FPN, type='PAFPN')),
    (dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='IN')), FPN),
    (dict(type='RegNet', arch=REGNET, strides=(2, 2, 2), dilations=(1, 1, 1), out_indices=(0, 1, 2)), FPN),
    (dict(type='SSDVGG', depth=11, out_feature_indices=(19, 24)), SSD_NECK),
    (dict(type='VGG', depth=11, out_indices=(4,)), dict(type='GlobalAveragePooling')),
]
SLOW = [
    (
        dict(type='RepVGG', arch=REPVGG, out_indices=(1, 2, 3)),
        dict(type='YOLOXPAFPN', out_channels=8, num_csp_blocks=1),
    ),
    (
        dict(type='ResNet', depth=50, base_channels=8, frozen_stages=1, style='caffe'),
        dict(FPN, add_extra_convs='on_input'),
    ),
    (dict(type='ResNet', depth=50, base_channels=8, norm_cfg=dict(type='GN', num_groups=4)), FPN),
    (dict(type='ResNet', depth=50, base_channels=8, **DCN), dict(type='ChannelMapper', out_channels=8)),
    (dict(type='ResNetV1d', depth=50, base_channels=8), FPN),
    (dict(type='ResNeXt', depth=50, base_channels=8, groups=2), FPN),
    (dict(type='Res2Net', depth=50, base_channels=8, base_width=4), FPN),
    (dict(type='ResNeSt', depth=50, base_channels=8), FPN),
    (dict(type='HRNet', extra=HRNET), dict(type='HRFPN', out_channels=8)),
    (dict(type='SwinTransformer', embed_dims=12, depths=(1, 2, 1, 1), use_abs_pos_embed=True), FPN),
    (dict(type='ConvNeXt', arch=CONVNEXT, out_indices=(0, 1, 2, 3), gap_before_final_norm=False), FPN),
    (dict(type='PyramidVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1)), FPN),
    (dict(type='PyramidVisionTransformerV2', embed_dims=8, num_layers=(1, 1, 1, 1)), FPN),
    (dict(type='MobileNetV2', widen_factor=0.25, out_indices=(2, 4, 6)), dict(TOP_DOWN, out_channels=(8, 8, 8))),
    (dict(type='Darknet', out_indices=(3, 4, 5)), dict(TOP_DOWN, out_channels=(8, 8, 8))),
    (
        dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
        dict(type='YOLOXPAFPN', out_channels=8, num_csp_blocks=1),
    ),
    (
        dict(type='CSPNeXt', deepen_factor=0.1, widen_factor=0.125),
        dict(type='CSPNeXtPAFPN', out_channels=8, num_csp_blocks=1),
    ),
]


class BackboneAndNeck(nn.Module):
    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.neck(self.backbone(x))


def name(cfg: dict) -> str:
    norm = cfg.get('norm_cfg', {}).get('type', '')
    return '-'.join(str(part) for part in (cfg['type'], cfg.get('depth', ''), norm) if part)


@pytest.mark.parametrize(
    ('backbone', 'neck'),
    [
        *(pytest.param(*pair, id=name(pair[0])) for pair in FAST),
        *(pytest.param(*pair, id=name(pair[0]), marks=pytest.mark.slow) for pair in SLOW),
    ],
)
def test_export(backbone, neck):
    torch.manual_seed(0)
    body, x = BACKBONES.build(backbone).eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        channels = [out.shape[1] for out in body(x)]
    if neck['type'] != 'GlobalAveragePooling':
        neck = dict(neck, in_channels=channels[::-1] if neck['type'] == 'YOLOV3Neck' else channels)
    model = BackboneAndNeck(body, NECKS.build(neck)).eval()
    with torch.no_grad():
        program = torch.export.export(model, (x,)).module()
        for ours, exported in zip(model(x), program(x), strict=True):
            torch.testing.assert_close(exported, ours, rtol=1e-5, atol=1e-5)
