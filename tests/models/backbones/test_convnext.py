"""ConvNeXt: its names, its arguments, a block by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.models.backbones import ConvNeXt
from mmkit.models.backbones.convnext import LN2D, ConvNeXtBlock

SMALL = dict(arch=dict(depths=[1, 1, 2, 1], channels=[4, 8, 12, 16]), gap_before_final_norm=False)
X = torch.rand(2, 3, 64, 96)


@pytest.mark.parametrize('linear', [True, False])
def test_outputs_and_gradients(linear: bool) -> None:
    model = ConvNeXt(**SMALL, out_indices=(0, 1, 2, 3), linear_pw_conv=linear, drop_path_rate=0.1)
    model.init_weights()
    outs = model.train()(X)
    assert [tuple(out.shape[1:]) for out in outs] == [(4, 16, 24), (8, 8, 12), (12, 4, 6), (16, 2, 3)]
    sum(out.square().mean() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    rates = [module.drop_prob for module in model.modules() if hasattr(module, 'drop_prob')]
    assert rates == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])


def test_names_and_size_of_the_published_weights() -> None:
    with torch.device('meta'):
        model = ConvNeXt('tiny')
    names = model.state_dict()
    assert names['downsample_layers.0.0.weight'].shape == (96, 3, 4, 4) and 'downsample_layers.0.1.bias' in names
    assert names['downsample_layers.1.1.weight'].shape == (192, 96, 2, 2) and 'downsample_layers.1.0.weight' in names
    assert names['stages.2.8.depthwise_conv.weight'].shape == (384, 1, 7, 7)
    assert names['stages.2.8.pointwise_conv1.weight'].shape == (1536, 384)
    assert {'stages.3.2.gamma', 'stages.3.2.norm.weight', 'stages.3.2.pointwise_conv2.bias', 'norm3.bias'} <= set(names)
    assert (
        sum(tensor.numel() for tensor in names.values()) == 28_589_128 - 769_000
    )  # that of the paper has a classifier


def test_block_by_hand() -> None:
    block = ConvNeXtBlock(2, LN2D, dict(type='ReLU'), layer_scale_init_value=0.5)
    for parameter in (block.depthwise_conv.weight, block.pointwise_conv1.weight, block.pointwise_conv2.weight):
        nn.init.zeros_(parameter)
    nn.init.constant_(block.pointwise_conv2.bias, 3.0)
    x = torch.rand(1, 2, 8, 8)
    assert torch.allclose(block(x), x + 1.5)
    assert ConvNeXtBlock(2, LN2D, dict(type='ReLU'), layer_scale_init_value=0).gamma is None


def test_recomputed_activations_change_nothing() -> None:
    torch.manual_seed(0)
    plain, recomputing = ConvNeXt(**SMALL), ConvNeXt(**SMALL, with_cp=True)
    recomputing.load_state_dict(plain.state_dict())
    grads = []
    for model in (plain, recomputing):
        model(X)[0].sum().backward()
        grads.append(model.downsample_layers[0][0].weight.grad)
    assert torch.allclose(*grads)


def test_means_for_a_classifier_and_frozen_stages() -> None:
    model = ConvNeXt(SMALL['arch'], frozen_stages=2).train()
    (features,) = model(X)
    assert features.shape == (2, 16)
    frozen = {name.split('.')[1] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {'0', '1'}


def test_mistakes() -> None:
    for arguments, word in ((dict(arch='giant'), 'giant'), (dict(out_indices=[4]), 'out_indices')):
        with pytest.raises(ValueError, match=word):
            ConvNeXt(**arguments)
    with pytest.raises(ValueError, match='frozen_stages'):
        ConvNeXt(SMALL['arch'], frozen_stages=5)
