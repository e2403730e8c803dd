from __future__ import annotations

import pytest
from torch import nn

from mmkit.engine.layer_decay import layer_of, stage_of
from mmkit.engine.optim import build_optimizer

ADAMW = {'type': 'AdamW', 'lr': 1.0, 'weight_decay': 0.05, 'constructor': 'LearningRateDecayOptimizerConstructor'}


def layers(depths=(1, 1, 4, 1)):
    return nn.ModuleList(nn.Sequential(*(nn.Linear(2, 2) for _ in range(depth))) for depth in depths)


class ConvNeXtLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({'downsample_layers': layers((1, 1, 1, 1)), 'stages': layers()})
        self.neck = nn.Linear(2, 2)


class ViTLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({'patch_embed': nn.Linear(2, 2), 'blocks': layers((1, 1))})
        self.bbox_head = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ('name', 'layer', 'stage'),
    [
        ('backbone.downsample_layers.0.0.weight', 0, 0),
        ('backbone.stages.0.2.gamma', 1, 1),
        ('backbone.downsample_layers.1.0.weight', 2, 0),
        ('backbone.stages.1.0.gamma', 2, 2),
        ('backbone.downsample_layers.2.1.weight', 3, 0),
        ('backbone.stages.2.2.gamma', 3, 3),
        ('backbone.stages.2.3.gamma', 4, 3),
        ('backbone.stages.2.8.gamma', 5, 3),
        ('backbone.downsample_layers.3.0.weight', 6, 0),
        ('backbone.stages.3.0.gamma', 6, 4),
        ('backbone.norm3.weight', 7, 7),
        ('neck.convs.0.weight', 7, 7),
    ],
)
def test_layers_of_convnext_tiny(name, layer, stage):
    assert layer_of(name, 6) == layer and stage_of(name, 6) == stage


def rates(model, **paramwise):
    optimizer = build_optimizer(model, {**ADAMW, 'paramwise_cfg': {'decay_rate': 0.5, **paramwise}})
    names = {id(param): name for name, param in model.named_parameters()}
    return {names[id(p)]: (g['lr'], g['weight_decay']) for g in optimizer.param_groups for p in g['params']}


def test_rates_and_decay():
    model = ConvNeXtLike()
    model.backbone['stages'][1].requires_grad_(False)
    found = rates(model, num_layers=6, norm_decay_mult=0, bypass_duplicate=True)
    assert found['neck.weight'] == (1, 0.05) and found['neck.bias'] == (1, 0)
    assert found['backbone.stages.3.0.weight'] == (0.5, 0.05)
    assert found['backbone.stages.2.3.weight'] == (0.5**3, 0.05)
    assert found['backbone.downsample_layers.0.0.bias'] == (0.5**7, 0)
    assert not any(name.startswith('backbone.stages.1') for name in found)
    assert rates(model, num_layers=4, decay_type='stage_wise')['backbone.stages.0.0.weight'] == (0.5**4, 0.05)


def test_rates_of_a_vision_transformer():
    found = rates(ViTLike(), num_layers=2)
    assert found['bbox_head.weight'][0] == 1 and found['backbone.blocks.1.0.weight'][0] == 0.5
    assert found['backbone.patch_embed.weight'][0] == 0.5**3


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        ({'num_layer': 6}, "no argument 'num_layer'; the nearest is 'num_layers'"),
        ({'num_layers': 6, 'decay_type': 'block_wise'}, "'block_wise'"),
        ({'num_layers': 6, 'norm_decay_mult': 1.0}, 'are 0'),
        ({}, 'num_layers'),
    ],
)
def test_wrong_settings(paramwise, message):
    with pytest.raises((TypeError, ValueError), match=message):
        rates(ConvNeXtLike(), **paramwise)


def test_a_backbone_without_layers():
    with pytest.raises(ValueError, match='its layers are not known'):
        rates(nn.ModuleDict({'neck': nn.Linear(2, 2)}), num_layers=6)
