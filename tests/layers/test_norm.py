from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.layers import build_norm_layer, freeze, freeze_batch_norm
from mmkit.layers.norm import SyncBN, synchronise_batch_norm


@pytest.mark.parametrize(
    'cfg, name',
    [
        (dict(type='BN'), 'bn1'),
        (dict(type='SyncBN'), 'bn1'),
        (dict(type='MMSyncBN'), 'bn1'),
        (dict(type='BN1d'), 'bn1'),
        (dict(type='GN', num_groups=2), 'gn1'),
        (dict(type='LN'), 'ln1'),
        (dict(type='IN'), 'in1'),
        (dict(type=nn.BatchNorm2d), 'bn1'),
    ],
)
def test_names(cfg, name):
    before = dict(cfg)
    own, layer = build_norm_layer(cfg, 4, postfix=1)
    assert own == name and layer.eps == 1e-5 and cfg == before


def test_settings():
    layer = build_norm_layer(dict(type='BN', eps=1e-3, momentum=0.03, requires_grad=False), 4)[1]
    assert (layer.eps, layer.momentum, layer.weight.requires_grad) == (1e-3, 0.03, False)
    assert build_norm_layer(dict(type='GN', num_groups=2), 4)[1].num_channels == 4


def test_mistakes():
    with pytest.raises(TypeError, match="BN has no argument 'momentun'; the nearest is 'momentum'"):
        build_norm_layer(dict(type='BN', momentun=1), 4)
    with pytest.raises(TypeError, match='num_groups'):
        build_norm_layer(dict(type='GN'), 4)
    with pytest.raises(KeyError, match='type'):
        build_norm_layer(dict(num_groups=2), 4)


@pytest.mark.parametrize('kind', ['SyncBN', 'torch.nn.SyncBatchNorm', nn.SyncBatchNorm])
def test_sync_bn_on_a_cpu_is_bn(kind):
    torch.manual_seed(0)
    x = torch.rand(4, 3, 2, 2)
    sync, plain = build_norm_layer(dict(type=kind), 3)[1], nn.BatchNorm2d(3)
    assert torch.allclose(sync(x), plain(x))
    assert torch.allclose(sync.running_mean, plain.running_mean)


def test_mmcvs_own_sync_bn_is_the_same_where_all_batches_are_of_one_size():
    layer = build_norm_layer(dict(type='MMSyncBN', momentum=0.2, stats_mode='default'), 3)[1]
    assert isinstance(layer, nn.SyncBatchNorm) and layer.momentum == 0.2
    assert layer.state_dict().keys() == nn.BatchNorm2d(3).state_dict().keys()
    for wrong in (dict(stats_mode='n'), dict(group=1)):
        with pytest.raises(ValueError, match='|'.join(wrong)):
            build_norm_layer(dict(type='MMSyncBN', **wrong), 3)


def test_freezing():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.GroupNorm(1, 1)).train()
    freeze_batch_norm(model)
    assert [layer.training for layer in model] == [True, False, True]
    freeze(model)
    assert not any(p.requires_grad for p in model.parameters()) and not model[0].training


def test_synchronised_norms_keep_weights_and_settings():
    model = nn.Sequential(nn.BatchNorm2d(3, eps=0.1, momentum=0.2), nn.Sequential(nn.BatchNorm2d(2, affine=False)))
    model[0].weight.requires_grad = False
    model[0].running_mean.fill_(3)
    model.eval()
    x = torch.rand(2, 3, 4, 4)
    expected = model[0](x)
    synchronise_batch_norm(model)
    assert isinstance(model[0], SyncBN) and isinstance(model[1][0], SyncBN)
    assert torch.equal(model[0](x), expected) and model[0].momentum == 0.2 and not model[1][0].affine
    assert not model[0].weight.requires_grad and model[0].bias.requires_grad and not model[0].training
