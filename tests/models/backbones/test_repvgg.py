from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.engine.checkpoint import load_checkpoint, save_checkpoint
from mmkit.layers.fuse import fuse_conv_bn
from mmkit.models.backbones import RepVGG
from mmkit.models.backbones.repvgg_block import RepVGGBlock
from mmkit.models.backbones.se_layer import SELayer
from mmkit.utils.state_dict import load_state_dict

# Every second block has two groups, the widths of the stages are 8, 8, 16 and 32.
SMALL = dict(
    num_blocks=[1, 2, 1, 1],
    width_factor=[1, 0.5, 0.5, 0.5],
    group_layer_map={2: 2, 4: 2},
    se_cfg=None,
    stem_channels=4,
)
WITH_SE = dict(SMALL, se_cfg=dict(ratio=4, divisor=1))


def randomised(module):
    """Eval mode with statistics and affine parameters that are not trivial."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
    return module.eval()


def small(**changes):
    torch.manual_seed(0)
    return randomised(RepVGG(**{**dict(arch=SMALL, base_channels=8, out_indices=(0, 1, 2, 3)), **changes}))


def check_equal(outs, expected, tolerance=1e-5):
    for out, other in zip(outs, expected, strict=True):
        torch.testing.assert_close(out, other, rtol=0, atol=tolerance * other.abs().max().item())


# Million parameters with a classifier of 1000 classes, in training and deployed, as in tables 2 and 4 of the paper; A2
# has 25.4999 million deployed, of which the paper cuts off the last two digits.
@pytest.mark.parametrize(
    ('arch', 'training', 'deployed'),
    [
        ('A0', 9.11, 8.31),
        ('A1', 14.09, 12.79),
        ('A2', 28.21, 25.50),
        ('B0', 15.82, 14.34),
        ('B1', 57.42, 51.83),
        ('B1g2', 45.78, 41.36),
        ('B1g4', 39.97, 36.13),
        ('B2', 89.02, 80.32),
        ('B2g4', 61.76, 55.78),
        ('B3', 123.09, 110.96),
        ('B3g4', 83.83, 75.63),
    ],
)
def test_published_sizes(arch, training, deployed):
    for deploy, expected in ((False, training), (True, deployed)):
        with torch.device('meta'):
            model = RepVGG(arch, deploy=deploy)
        width = int(512 * model.arch['width_factor'][-1])
        count = sum(parameter.numel() for parameter in model.parameters()) + 1000 * width + 1000
        assert round(count / 1e6, 2) == expected


def test_names_and_shapes_of_parameters():
    with torch.device('meta'):
        names = {name: tuple(tensor.shape) for name, tensor in RepVGG('D2se', add_ppf=True).state_dict().items()}
        deployed = {name: tuple(tensor.shape) for name, tensor in RepVGG('B1g4', deploy=True).state_dict().items()}
    assert names['stem.branch_3x3.conv.weight'] == (64, 3, 3, 3)
    assert names['stem.branch_1x1.norm.running_mean'] == (64,)
    assert 'stem.branch_norm.weight' not in names and 'stage_1.0.branch_norm.weight' not in names
    assert names['stage_1.1.branch_norm.weight'] == (160,)
    assert names['stage_4.0.se_layer.conv1.conv.weight'] == (160, 2560, 1, 1)
    assert names['stage_4.0.se_layer.conv2.conv.bias'] == (2560,)
    assert names['ppf.conv1.conv.weight'] == (1280, 2560, 1, 1) and names['ppf.conv2.bn.bias'] == (2560,)
    assert deployed['stage_1.0.branch_reparam.weight'] == (128, 64, 3, 3)
    assert deployed['stage_1.1.branch_reparam.weight'] == (128, 32, 3, 3)
    assert deployed['stage_4.0.branch_reparam.bias'] == (2048,)
    assert {name.rpartition('.')[0].rpartition('.')[2] for name in deployed} == {'branch_reparam'}


@pytest.mark.parametrize('changes', [{}, dict(arch=WITH_SE, with_cp=True), dict(add_ppf=True)])
def test_pyramid_and_gradients(changes):
    model = small(**changes).train()
    outs = model(torch.rand(2, 3, 64, 96))
    assert [tuple(out.shape) for out in outs] == [(2, 8, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 2, 3)]
    sum(out.square().mean() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_recomputing_changes_nothing():
    imgs = torch.rand(1, 3, 32, 32)
    check_equal(small(with_cp=True)(imgs), small()(imgs), tolerance=0)


def test_a_block_by_hand():
    """In: one pixel of 1. Branches: 2 at the corner of the 3 x 3, 3 from the 1 x 1, and the input itself."""
    block = RepVGGBlock(1, 1).eval()
    x = torch.tensor([[[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]]])
    with torch.no_grad():
        block.branch_3x3.conv.weight.zero_()[0, 0, 0, 0] = 2
        block.branch_1x1.conv.weight.fill_(3)
        block.branch_norm.running_mean.fill_(0.5)
        for norm in (block.branch_3x3.norm, block.branch_1x1.norm, block.branch_norm):
            norm.eps = 0
    expected = torch.full((3, 3), -0.5)
    expected[1, 1] += 3 + 1
    expected[2, 2] += 2
    torch.testing.assert_close(block(x)[0, 0], expected.relu())
    conv = block.merged()
    assert conv.weight.flatten().tolist() == [2, 0, 0, 0, 4, 0, 0, 0, 0] and conv.bias.tolist() == [-0.5]


@pytest.mark.parametrize(
    'arguments',
    [
        dict(in_channels=8, out_channels=8),
        dict(in_channels=8, out_channels=8, groups=4),
        dict(in_channels=8, out_channels=8, groups=8),
        dict(in_channels=8, out_channels=8, dilation=3, groups=2),
        dict(in_channels=8, out_channels=8, stride=2),
        dict(in_channels=8, out_channels=12, stride=2, dilation=2, groups=4),
        dict(in_channels=8, out_channels=4, norm_cfg=dict(type='SyncBN', eps=1e-2)),
        dict(in_channels=8, out_channels=8, se_cfg=dict(ratio=2), act_cfg=dict(type='SiLU')),
    ],
)
def test_a_deployed_block_gives_the_same(arguments):
    torch.manual_seed(0)
    block = randomised(RepVGGBlock(**arguments))
    assert (block.branch_norm is not None) == (arguments['out_channels'] == 8 and 'stride' not in arguments)
    x = torch.randn(2, 8, 11, 14)
    with torch.no_grad():
        expected = block(x)
        block.switch_to_deploy()
        check_equal([block(x)], [expected])
        merged = block.branch_reparam
        block.switch_to_deploy()
        assert block.branch_reparam is merged
    assert not any('norm' in name or '1x1' in name for name in block.state_dict())


@pytest.mark.parametrize(
    'changes', [{}, dict(arch=WITH_SE), dict(strides=(2, 2, 1, 1), dilations=(1, 1, 2, 4)), dict(add_ppf=True)]
)
def test_a_deployed_backbone_gives_the_same(changes):
    model, imgs = small(**changes), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(imgs)
        model.switch_to_deploy()
        check_equal(model(imgs), expected)
        model.switch_to_deploy()
        check_equal(model(imgs), expected)
    built = small(**changes, deploy=True)
    assert built.state_dict().keys() == model.state_dict().keys()
    assert load_state_dict(built, model.state_dict(), strict=True).complete
    check_equal(built(imgs), model(imgs), tolerance=0)


def test_folding_norms_deploys():
    model, imgs = small(add_ppf=True), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(imgs)
        assert fuse_conv_bn(model) == 15  # two in each of six blocks, the input's in one of them, two in the pooling
        assert model.deploy
        check_equal(model(imgs), expected)


def test_maxima_of_maxima():
    x = torch.rand(1, 2, 20, 20)
    pool = nn.MaxPool2d(5, stride=1, padding=2)
    nine, thirteen = small(add_ppf=True).ppf.poolings[1:]
    assert torch.equal(pool(pool(x)), nine(x)) and torch.equal(pool(pool(pool(x))), thirteen(x))


def test_a_deployed_model_is_not_trained():
    imgs = torch.rand(1, 3, 32, 32)
    for model in (small(), RepVGG(SMALL, base_channels=8, deploy=True)):
        model.train()
        model.switch_to_deploy()
        assert not model.training
        model(imgs)
        with pytest.raises(ValueError, match=r'deployed.*is for inference.*deploy=False'):
            model.train()(imgs)


@pytest.mark.parametrize('arch', [SMALL, WITH_SE])
def test_a_checkpoint_of_training_fills_a_deployed_model(arch, tmp_path):
    trained, imgs = small(arch=arch), torch.rand(1, 3, 64, 64)
    save_checkpoint(tmp_path / 'a.pth', trained)
    deployed = RepVGG(arch, base_channels=8, out_indices=(0, 1, 2, 3), deploy=True)
    load_checkpoint(deployed, tmp_path / 'a.pth', strict=True)
    with torch.no_grad():
        check_equal(deployed(imgs), trained(imgs))
    from_config = RepVGG(
        arch,
        base_channels=8,
        out_indices=(0, 1, 2, 3),
        deploy=True,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')),
    )
    from_config.init_weights()
    check_equal(from_config(imgs), deployed(imgs), tolerance=0)


def test_a_deployed_checkpoint_does_not_fill_a_model_to_train(tmp_path):
    model = small()
    model.switch_to_deploy()
    save_checkpoint(tmp_path / 'a.pth', model)
    with pytest.raises(ValueError, match=r'weights of stem are of the deployed form.*deploy=True'):
        load_checkpoint(small(), tmp_path / 'a.pth')


@pytest.mark.parametrize('broken', ['missing', 'of another shape'])
def test_branches_that_do_not_fit_are_named(broken):
    state = small().state_dict()
    name = 'stage_2.1.branch_norm.running_var'
    state.pop(name) if broken == 'missing' else state.update({name: torch.ones(3)})
    with pytest.raises(ValueError, match=rf'(?s)branches of stage_2\.1 are not.*1 {broken}.*branch_norm.running_var'):
        load_state_dict(small(deploy=True), state)


def test_only_plain_layers_are_merged():
    for changes in (dict(norm_cfg=dict(type='GN', num_groups=1)), dict(conv_cfg=dict(type='ConvWS'))):
        with pytest.raises(ValueError, match='only plain convolutions and batch norms'):
            RepVGGBlock(4, 4, **changes).switch_to_deploy()
    with pytest.raises(ValueError, match=r'deploy=True.*ConvWS'):
        RepVGGBlock(4, 4, conv_cfg=dict(type='ConvWS'), deploy=True)


def test_freezing_and_norm_eval():
    model = small(frozen_stages=1, norm_eval=True).train()
    assert {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad} == {'stem', 'stage_1'}
    assert not any(norm.training for norm in model.modules() if isinstance(norm, nn.BatchNorm2d))
    model = small(frozen_stages=0).train()
    assert not model.stem.branch_3x3.norm.training and model.stage_1[0].branch_3x3.norm.training
    assert not any(p.requires_grad for p in model.stem.parameters()) and model.stage_1[0].training


def test_initial_weights():
    model = RepVGG(SMALL, base_channels=8, norm_cfg=dict(type='BN', requires_grad=False))
    nn.init.zeros_(model.stage_2[1].branch_norm.weight)
    model.init_weights()
    assert (model.stage_2[1].branch_norm.weight == 1).all()
    assert not model.stage_2[1].branch_norm.weight.requires_grad


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(arch='A9'), "'A0'.*got 'A9'"),
        (dict(arch=dict(num_blocks=[1])), 'width_factor'),
        (dict(arch=dict(SMALL, depth=3)), 'depth'),
        (dict(arch=dict(SMALL, width_factor=[1])), 'one value per stage'),
        (dict(arch=dict(SMALL, group_layer_map={6: 2})), 'from 1 to 5'),
        (dict(strides=(2, 2)), 'strides'),
        (dict(dilations=(1, 1)), 'dilations'),
        (dict(out_indices=(4,)), 'out_indices'),
        (dict(frozen_stages=5), 'frozen_stages'),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(ValueError, match=words):
        RepVGG(**{'arch': SMALL, **arguments})


def test_squeeze_and_excitation():
    layer = SELayer(16, ratio=4)  # 16 // 4, rounded up to 8
    assert layer.conv1.conv.weight.shape == (8, 16, 1, 1)
    layer = SELayer(2, squeeze_channels=1)
    with torch.no_grad():
        layer.conv1.conv.weight.copy_(torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1))
        layer.conv2.conv.weight.copy_(torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1))
        layer.conv1.conv.bias.fill_(-1), layer.conv2.conv.bias.fill_(0)
    x = torch.tensor([[2.0, 4.0], [1.0, 1.0]]).reshape(1, 2, 1, 2)  # means 3 and 1, their sum less 1 is 3
    expected = x * torch.tensor([0.5, torch.tensor(6.0).sigmoid()]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(layer(x), expected)
    assert SELayer(4, act_cfg=dict(type='Sigmoid')).conv1.activate.__class__ is nn.Sigmoid
