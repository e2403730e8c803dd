from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmkit.engine.optim import build_optimizer, init_momentum, step_if
from mmkit.engine.state import load_optimizer_state
from mmkit.layers.deform_conv import DeformConv2dPack
from mmkit.registry import OPTIMIZER_BUILDERS, OPTIMIZERS


class OwnDeformConv(nn.Module):
    """Of a user, under a name of their choice."""

    is_deform_conv = True

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.ones(1))
        self.conv_offset = nn.Conv2d(1, 2, 1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.conv = nn.Conv2d(2, 2, 1)
        self.norm = nn.GroupNorm(1, 2)
        self.depthwise = nn.Conv2d(2, 2, 1, groups=2)
        self.dcn = OwnDeformConv()
        self.frozen = nn.Linear(1, 1).requires_grad_(False)


def multipliers(paramwise, model=None, **optimizer):
    """{name: (lr multiplier, weight decay multiplier)} where they aren't 1."""
    model = model or Model()
    made = build_optimizer(
        model, {'type': 'SGD', 'lr': 2.0, 'weight_decay': 0.5, **optimizer, 'paramwise_cfg': paramwise}
    )
    names = {id(param): name for name, param in model.named_parameters()}
    factors = {
        names[id(group['params'][0])]: (group['lr'] / 2, group['weight_decay'] / 0.5) for group in made.param_groups
    }
    assert 'frozen.weight' not in factors
    return {name: value for name, value in factors.items() if value != (1, 1)}


def test_one_group_without_paramwise_and_frozen_parameters_left_out():
    model = Model()
    optimizer = build_optimizer(model, {'type': 'AdamW', 'lr': 1e-3, 'betas': (0.8, 0.9)})
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW) and group['betas'] == (0.8, 0.9)
    assert [id(p) for p in group['params']] == [id(p) for p in model.parameters() if p.requires_grad]


def test_every_optimizer_of_torch_is_there():
    for name in ('SGD', 'Adam', 'AdamW', 'RMSprop', 'Adagrad', 'Adadelta', 'ASGD', 'Rprop', 'NAdam', 'RAdam', 'Adamax'):
        assert OPTIMIZERS.get(name) is getattr(torch.optim, name)


def test_biases():
    factors = multipliers({'bias_lr_mult': 2, 'bias_decay_mult': 0})
    # of convolutions, and of a deformable convolution itself; neither of norms nor of offsets; the decay of depthwise
    # convolutions has a multiplier of its own
    assert factors == {'conv.bias': (2, 0), 'depthwise.bias': (2, 1), 'dcn.bias': (2, 0)}


def test_norms_and_depthwise_convolutions():
    factors = multipliers({'norm_decay_mult': 0, 'dwconv_decay_mult': 0.1, 'bias_decay_mult': 0.5})
    assert factors == {
        'norm.weight': (1, 0),
        'norm.bias': (1, 0),
        'depthwise.weight': (1, 0.1),
        'depthwise.bias': (1, 0.1),
        'conv.bias': (1, 0.5),
        'dcn.bias': (1, 0.5),
    }


def test_offsets_of_deformable_convolutions():
    factors = multipliers({'dcn_offset_lr_mult': 0.1, 'bias_lr_mult': 2})
    assert factors['dcn.conv_offset.weight'] == factors['dcn.conv_offset.bias'] == (0.1, 1)


def test_the_longest_custom_key_counts_and_goes_first():
    keys = {'conv': {'lr_mult': 0.1}, 'conv.bias': {'decay_mult': 0.0}, 'scale': {'lr_mult': 3, 'decay_mult': 0.2}}
    factors = multipliers({'custom_keys': keys, 'bias_lr_mult': 7, 'norm_decay_mult': 0})
    assert factors['conv.weight'] == (0.1, 1)
    assert factors['conv.bias'] == (1, 0)
    assert factors['scale'] == (3, 0.2)
    assert factors['dcn.conv_offset.weight'] == (0.1, 1)
    assert factors['norm.bias'] == (1, 0) and factors['dcn.bias'] == (7, 1)


def test_custom_keys_that_fit_nothing_are_named(caplog):
    caplog.set_level('INFO')
    multipliers({'custom_keys': {'conv': {}, 'depthwize': {}, 'encoder': {}}})
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            'WARNING',
            "optimizer.paramwise_cfg.custom_keys: no parameter has 'depthwize' in its name, did you mean 'depthwise'?",
        ),
        ('INFO', "optimizer.paramwise_cfg.custom_keys: no parameter has 'encoder' in its name"),
    ]


def test_the_rate_may_be_the_optimizers_default():
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, {'type': 'Adam', 'paramwise_cfg': {'bias_lr_mult': 10}})
    assert [group['lr'] for group in optimizer.param_groups] == [1e-3, 1e-2]


def test_rules_for_offsets_follow_the_class_and_not_its_name():
    class Renamed(DeformConv2dPack):
        """A user's variant."""

    class DeformConvLookalike(nn.Sequential):
        """Has nothing of a deformable convolution but the name."""

    model = nn.ModuleDict(
        {'own': Renamed(1, 1, 1), 'other': DeformConvLookalike(OrderedDict(conv_offset=nn.Conv2d(1, 1, 1)))}
    )
    factors = multipliers({'dcn_offset_lr_mult': 0.1}, model)
    assert factors == {'own.conv_offset.weight': (0.1, 1), 'own.conv_offset.bias': (0.1, 1)}


def test_shared_modules():
    model = nn.Module()
    model.first = nn.Linear(1, 1)
    model.second = model.first
    tree = nn.Sequential(model, nn.Sequential(model.first))
    cfg = {'type': 'SGD', 'lr': 1, 'paramwise_cfg': {'bias_lr_mult': 2}}
    with pytest.raises(ValueError, match=r'1\.0\.weight is shared.*bypass_duplicate'):
        build_optimizer(tree, cfg)
    cfg['paramwise_cfg']['bypass_duplicate'] = True
    assert len(build_optimizer(tree, cfg).param_groups) == 2


@pytest.mark.parametrize(
    ('cfg', 'error', 'message'),
    [
        ({'type': 'SDG', 'lr': 1}, KeyError, 'SGD'),
        ({'type': 'SGD', 'lr': 1, 'momemtum': 0.9}, TypeError, 'momemtum'),
        ({'type': 'LBFGS'}, ValueError, 'LBFGS'),
        ({'type': 'SGD', 'lr': 1, 'paramwise_cfg': {'bias_mult': 1}}, TypeError, 'bias_mult.*bias_lr_mult'),
        ({'type': 'SGD', 'lr': 1, 'paramwise_cfg': {'norm_decay_mult': 0}}, ValueError, 'norm_decay_mult'),
        (
            {'type': 'SGD', 'lr': 1, 'paramwise_cfg': {'custom_keys': {'a': {'lr': 1}}}},
            TypeError,
            r"custom_keys\['a'\]",
        ),
        ({'type': 'SGD', 'lr': 1, 'constructor': 'Other'}, KeyError, 'Other'),
    ],
)
def test_wrong_configs_are_explained(cfg, error, message):
    with pytest.raises(error, match=message):
        build_optimizer(Model(), cfg)


def test_a_model_without_trainable_parameters():
    with pytest.raises(ValueError, match='Linear has no trainable parameter'):
        build_optimizer(nn.Linear(1, 1).requires_grad_(False), {'type': 'SGD', 'lr': 1})


def test_constructors_of_users():
    class Half:
        def __init__(self, optimizer_cfg, paramwise_cfg=None):
            self.lr = optimizer_cfg['lr'] / 2

        def __call__(self, model):
            return torch.optim.SGD(model.parameters(), lr=self.lr)

    OPTIMIZER_BUILDERS.register_module(name='Half', module=Half, force=True)
    cfg = {'type': 'SGD', 'lr': 1, 'constructor': 'Half'}
    assert build_optimizer(nn.Linear(1, 1), cfg).param_groups[0]['lr'] == 0.5
    assert cfg == {'type': 'SGD', 'lr': 1, 'constructor': 'Half'}


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize(
    'cfg', [{'type': 'SGD', 'momentum': 0.9}, {'type': 'SGD', 'momentum': 0.9, 'dampening': 0.5}, {'type': 'AdamW'}]
)
def test_a_condition_stops_the_step(cfg, fused):
    def trained(conditions):
        model = nn.Linear(2, 1)
        nn.init.ones_(model.weight)
        optimizer = build_optimizer(model, {**cfg, 'lr': 0.1, 'weight_decay': 0.1, 'fused': fused})
        for number, condition in enumerate(conditions):
            model.weight.grad = torch.full((1, 2), float(number) if condition else float('nan'))
            init_momentum(optimizer)
            taken = step_if(torch.tensor(condition), optimizer)
            assert taken is (None if fused and 'dampening' not in cfg else condition)
        return model.weight.detach()

    expected = nn.Linear(2, 1)
    nn.init.ones_(expected.weight)
    reference = build_optimizer(expected, {**cfg, 'lr': 0.1, 'weight_decay': 0.1})
    for number in (1, 3):
        expected.weight.grad = torch.full((1, 2), float(number))
        reference.step()
    # Neither the first step nor one in the middle leaves a trace.
    torch.testing.assert_close(trained([False, True, False, True]), expected.weight.detach())


@pytest.mark.parametrize('kind', ['SGD', 'Adam'])
def test_the_kernels_of_a_resumed_optimizer_are_its_own(kind):
    def stepped(fused):
        model = nn.Linear(1, 1)
        optimizer = build_optimizer(model, {'type': kind, 'lr': 0.1, 'weight_decay': 0.1, 'fused': fused})
        for param in model.parameters():
            param.grad = torch.ones_like(param)
        optimizer.step()
        return model, optimizer

    model, optimizer = stepped(True)
    load_optimizer_state(optimizer, stepped(False)[1].state_dict(), model)
    assert optimizer.param_groups[0]['fused'] is True
    assert step_if(torch.tensor(True), optimizer) is None


def test_rules_of_3x_for_decay():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
            self.norm = nn.BatchNorm2d(4)
            self.scale = nn.Parameter(torch.ones(1))

    def decays(constructor, **paramwise):
        cfg = {'type': 'SGD', 'lr': 1.0, 'weight_decay': 1.0, 'constructor': constructor, 'paramwise_cfg': paramwise}
        model = Mixed()
        optimizer = build_optimizer(model, cfg)
        names = {id(param): name for name, param in model.named_parameters()}
        changed = {names[id(group['params'][0])]: group['weight_decay'] for group in optimizer.param_groups}
        return {name: decay for name, decay in changed.items() if decay != 1}

    rules = {'bias_decay_mult': 0.5, 'dwconv_decay_mult': 0.2}
    assert decays('DefaultOptimizerConstructor', **rules) == {
        'conv.bias': 0.5, 'depthwise.weight': 0.2, 'depthwise.bias': 0.2,
    }  # fmt: skip
    assert decays('DefaultOptimWrapperConstructor', **rules) == {
        'conv.bias': 0.5, 'depthwise.weight': 0.2, 'depthwise.bias': 0.5, 'norm.bias': 0.5,
    }  # fmt: skip
    assert decays('DefaultOptimWrapperConstructor', norm_decay_mult=0.1, flat_decay_mult=0.3) == {
        'conv.bias': 0.3, 'depthwise.bias': 0.3, 'norm.weight': 0.1, 'norm.bias': 0.1, 'scale': 0.3,
    }  # fmt: skip
    with pytest.raises(TypeError, match='flat_decay_mult'):
        decays('DefaultOptimizerConstructor', flat_decay_mult=0.3)
