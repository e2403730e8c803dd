from __future__ import annotations

import pytest
from torch import nn

from mmkit.layers.norm import SyncBN
from mmkit.models import build_detector
from mmkit.models.detectors import rtmdet

TINY = dict(
    type='RTMDet',
    backbone=dict(type='CSPNeXt', deepen_factor=0.1, widen_factor=0.0625),
    neck=dict(type='CSPNeXtPAFPN', in_channels=[16, 32, 64], out_channels=8, num_csp_blocks=1),
    bbox_head=dict(type='RTMDetSepBNHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1),
)


def test_batch_norms_work_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = build_detector(TINY).state_dict().keys()
    monkeypatch.setattr(rtmdet, 'get_world_size', lambda: 2)
    together, alone = build_detector(TINY), build_detector(dict(TINY, use_syncbn=False))
    assert not any(type(module) is nn.BatchNorm2d for module in together.modules())
    assert any(isinstance(module, SyncBN) for module in together.modules())
    assert not any(isinstance(module, SyncBN) for module in alone.modules())
    assert together.state_dict().keys() == alone.state_dict().keys() == names
    first = together.bbox_head.cls_convs[0][0]
    assert first.conv is together.bbox_head.cls_convs[1][0].conv and first.norm is first.bn
