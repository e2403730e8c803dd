from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmkit.layers.norm import SyncBN
from mmkit.models import build_detector
from mmkit.models.detectors import rtmdet
from mmkit.structures import Batch
from tests.models.scenes import meta
from tests.models.test_export import Decoder

TINY = dict(
    type='RTMDet',
    backbone=dict(type='CSPNeXt', deepen_factor=0.1, widen_factor=0.0625),
    neck=dict(type='CSPNeXtPAFPN', in_channels=[16, 32, 64], out_channels=8, num_csp_blocks=1),
    bbox_head=dict(type='RTMDetSepBNHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1),
)


def test_batch_norms_work_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    names = build_detector(TINY).state_dict().keys()
    monkeypatch.setattr(rtmdet, 'get_world_size', lambda: 2)
    assert not any(isinstance(module, SyncBN) for module in build_detector(TINY).modules())  # no GPUs
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    together, alone = build_detector(TINY), build_detector(dict(TINY, use_syncbn=False))
    assert not any(type(module) is nn.BatchNorm2d for module in together.modules())
    assert any(isinstance(module, SyncBN) for module in together.modules())
    assert not any(isinstance(module, SyncBN) for module in alone.modules())
    assert together.state_dict().keys() == alone.state_dict().keys() == names
    first = together.bbox_head.cls_convs[0][0]
    assert first.conv is together.bbox_head.cls_convs[1][0].conv and first.norm is first.bn


@pytest.mark.parametrize('segments', [False, True])
@torch.no_grad()
def test_exported_decode(segments: bool) -> None:
    torch.manual_seed(0)
    cfg = copy.deepcopy(TINY)
    if segments:
        cfg['bbox_head'] = dict(cfg['bbox_head'], type='RTMDetInsSepBNHead', num_prototypes=2, dyconv_channels=2)
    model = build_detector(cfg).eval()
    assert model.needs == ('gt_bboxes', 'gt_labels', *['gt_masks'] * segments)
    batch = Batch(imgs=torch.rand(2, 3, 64, 64), metas=[meta(64, 64), meta(60, 50)])
    expected = model.decode(batch)
    shapes = [tuple(each.shape) for each in expected]
    num = 8 * 8 + 4 * 4 + 2 * 2
    params = 4 * 2 + 2 + 2 * 2 + 2 + 2 * 1 + 1
    assert shapes == [(2, num, 4), (2, num, 3), *[(2, num, 3 + params), (2, 2, 8, 8)] * segments]
    exported = torch.export.export(Decoder(model), (batch,)).module()(batch)
    for ours, theirs in zip(exported, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
