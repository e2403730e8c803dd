from __future__ import annotations

import pytest
import torch

from mmkit.models.backbones import ResNet
from mmkit.models.roi_heads.shared_heads import ResLayer


def test_it_is_the_last_stage_of_a_resnet():
    whole, last = ResNet(18).eval(), ResLayer(18).eval()
    last.load_state_dict({name: value for name, value in whole.state_dict().items() if name.startswith('layer4')})
    x = torch.rand(3, 256, 4, 4)
    with torch.no_grad():
        assert torch.equal(last(x), whole.layer4(x))
        assert last(x[:0]).shape == (0, 512, 2, 2)


def test_arguments():
    layer = ResLayer(50, stage=0, stride=1, style='caffe', norm_eval=True, with_cp=True).train()
    assert list(dict(layer.named_children())) == ['layer1'] and not layer.layer1[0].bn1.training
    assert ResLayer(18, norm_eval=False).train().layer4[0].bn1.training
    with pytest.raises(ValueError, match='depth'):
        ResLayer(20)
