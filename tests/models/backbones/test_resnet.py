from __future__ import annotations

import pytest
import torch

from mmkit.config import Config
from mmkit.errors import UserError
from mmkit.models.backbones import Res2Net, ResNet, ResNetV1d, ResNeXt
from mmkit.registry import BACKBONES

X = torch.rand(1, 3, 32, 32)


def shapes(model: torch.nn.Module, x: torch.Tensor = X) -> list[tuple[int, ...]]:
    with torch.no_grad():
        return [tuple(out.shape[1:]) for out in model.eval()(x)]


def test_sizes():
    assert shapes(ResNet(18)) == [(64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]
    assert shapes(ResNet(50, base_channels=8, stem_channels=4, out_indices=[1, 3])) == [(64, 4, 4), (256, 1, 1)]
    assert shapes(
        ResNet(18, base_channels=8, num_stages=2, strides=[1, 1], dilations=[1, 2], out_indices=[1], in_channels=1),
        X[:, :1],
    ) == [(16, 8, 8)]


def test_names_of_torchvision():
    from torchvision.models import resnet18

    theirs = {name: value.shape for name, value in resnet18().state_dict().items() if not name.startswith('fc')}
    assert {name: value.shape for name, value in ResNet(18).state_dict().items()} == theirs


def test_values_of_torchvision():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs, ours = resnet18().eval(), ResNet(18, out_indices=(3,)).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.allclose(ours.norm1(ours.conv1(X)), theirs.bn1(theirs.conv1(X)))
        assert torch.allclose(theirs.fc(theirs.avgpool(ours(X)[0]).flatten(1)), theirs(X), atol=1e-5)


def test_style_says_which_convolution_strides():
    pytorch, caffe = (ResNet(50, base_channels=4, style=style).layer2[0] for style in ('pytorch', 'caffe'))
    assert (pytorch.conv1.stride, pytorch.conv2.stride) == ((1, 1), (2, 2))
    assert (caffe.conv1.stride, caffe.conv2.stride) == ((2, 2), (1, 1))


def test_v1d_has_a_deep_stem_and_pools_before_projections():
    model = ResNetV1d(50, base_channels=8)
    assert [type(layer).__name__ for layer in model.stem[::3]] == ['Conv2d'] * 3
    assert model.layer2[0].downsample[0].kernel_size == 2 and model.layer2[0].downsample[1].stride == (1, 1)
    assert shapes(model)[-1] == (256, 1, 1)


def test_frozen_stages_and_norm_eval():
    model = ResNet(18, base_channels=8, frozen_stages=1).train()
    frozen = {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'conv1', 'bn1', 'layer1'}
    assert not model.layer4[0].bn1.training and model.layer4.training and not model.layer1.training
    assert ResNet(18, base_channels=8, norm_eval=False).train().layer4[0].bn1.training
    deep = ResNetV1d(50, base_channels=8, frozen_stages=0)
    assert not any(p.requires_grad for p in deep.stem.parameters())


@pytest.mark.parametrize('depth, norm', [(18, 'bn2'), (50, 'bn3')])
def test_initial_weights(depth, norm):
    model = ResNet(depth, base_channels=4)
    model.init_weights()
    assert (getattr(model.layer1[0], norm).weight == 0).all() and (model.layer1[0].bn1.weight == 1).all()
    model = ResNet(depth, base_channels=4, zero_init_residual=False)
    model.init_weights()
    assert (getattr(model.layer1[0], norm).weight == 1).all()
    model = ResNet(depth, base_channels=4, init_cfg=dict(type='Constant', val=3, layer='_BatchNorm'))
    model.init_weights()
    assert (getattr(model.layer1[0], norm).weight == 3).all()


def test_pretrained_is_deprecated():
    with pytest.warns(DeprecationWarning, match='init_cfg'):
        model = ResNet(18, base_channels=4, pretrained='torchvision://resnet18')
    assert model.init_cfg == dict(type='Pretrained', checkpoint='torchvision://resnet18')
    with pytest.raises(ValueError, match='not both'):
        ResNet(18, pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='b.pth'))
    with pytest.raises(TypeError, match='pretrained'):
        ResNet(18, pretrained=True)


def test_checkpointing_changes_no_gradient():
    torch.manual_seed(0)
    plain, saving = (ResNet(50, base_channels=4, with_cp=with_cp).eval() for with_cp in (False, True))
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        model(X)[-1].sum().backward()
    assert torch.allclose(plain.layer1[0].conv2.weight.grad, saving.layer1[0].conv2.weight.grad)


def test_deformable_stages():
    model = ResNet(
        50,
        base_channels=4,
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=True),
        stage_with_dcn=[False, True, False, False],
    )
    assert [hasattr(block.conv2, 'conv_offset') for block in model.layer2] == [False, True, True, True]
    assert not hasattr(model.layer3[1].conv2, 'conv_offset')
    assert shapes(model)[-1] == (128, 1, 1)
    state = {name.replace('conv2.conv_offset', 'conv2_offset'): value for name, value in model.state_dict().items()}
    model.load_state_dict(state)


def test_plugins():
    plugins = [
        dict(cfg=dict(type='ContextBlock', ratio=1 / 4), stages=(False, True, True, True), position='after_conv3'),
        dict(cfg=dict(type='NonLocal2d', postfix='_a'), position='after_conv1'),
        dict(cfg=dict(type='NonLocal2d', postfix='_b'), position='after_conv2'),
    ]
    model = ResNet(50, base_channels=8, plugins=plugins)
    assert not hasattr(model.layer1[0], 'context_block')
    assert model.layer2[0].context_block.conv_mask.in_channels == 64
    assert model.layer1[0].nonlocal_block_a.g.conv.in_channels == 8
    assert shapes(model)[-1] == (256, 1, 1)
    assert plugins[1]['cfg'] == dict(type='NonLocal2d', postfix='_a')


@pytest.mark.parametrize(
    'arguments, word',
    [
        (dict(depth=20), 'depth'),
        (dict(depth=50, strides=(1, 2)), 'strides'),
        (dict(depth=50, out_indices=(4,)), 'out_indices'),
        (dict(depth=50, style='tf'), 'style'),
        (dict(depth=50, num_stages=0), 'num_stages'),
        (dict(depth=50, frozen_stages=5), 'frozen_stages is from -1 to 4, got 5'),
        (dict(depth=50, dcn=dict(type='DCN'), stage_with_dcn=(True,)), 'stage_with_dcn'),
        (dict(depth=18, dcn=dict(type='DCN'), stage_with_dcn=(True,) * 4), 'dcn'),
        (dict(depth=50, dcn=dict(type='DCN'), stage_with_dcn=(True,) * 4, conv_cfg=dict(type='ConvWS')), 'conv_cfg'),
        (dict(depth=50, plugins=[dict(cfg=dict(type='NonLocal2d'), position='before')]), 'position'),
        (dict(depth=50, plugins=[dict(cfg=dict(type='NonLocal2d'), position='after_conv1', stages=(True,))]), 'stages'),
        (dict(depth=50, plugins=[dict(cfg=dict(type='NonLocal2d'), position='after_conv1')] * 2), 'postfix'),
    ],
)
def test_mistakes_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        ResNet(**{'base_channels': 4, **arguments})


def test_resnext_groups_the_middle():
    model = ResNeXt(50, groups=32, base_width=4)
    assert [model.get_submodule(f'layer{i}.0.conv2').groups for i in (1, 4)] == [32, 32]
    assert [model.get_submodule(f'layer{i}.0.conv2').out_channels for i in (1, 4)] == [128, 1024]
    assert ResNeXt(50, base_channels=8).layer1[0].conv2.groups == 1


@pytest.mark.parametrize('kind, depth', [(ResNet, 18), (ResNet, 50), (ResNetV1d, 50), (Res2Net, 50)])
def test_optional_parts_are_none_and_never_absent(kind, depth):
    """Tools that trace a module look at all its attributes."""
    model = kind(depth, base_channels=8)
    block = model.layer1[0]
    for module in (model, block):
        assert all(hasattr(module, name) for name in dir(type(module)))
    assert (block.norm3 is None) == (depth == 18) and (block.norm2 is None) == isinstance(model, Res2Net)
    assert (model.norm1 is None) == model.deep_stem


def test_variants_know_the_arguments_that_they_pass_on():
    assert BACKBONES.build(dict(type='ResNeXt', depth=50, base_channels=8, frozen_stages=1)).frozen_stages == 1
    with pytest.raises(TypeError, match="ResNeXt has no argument 'frozen_stage'; the nearest is 'frozen_stages'"):
        BACKBONES.build(dict(type='ResNeXt', depth=50, frozen_stage=1))
    with pytest.raises(TypeError, match="ResNetV1d has no argument 'deep_stem'"):
        BACKBONES.build(dict(type='ResNetV1d', depth=50, deep_stem=False))


@pytest.mark.parametrize(
    'part, place',
    [
        ("conv_cfg=dict(\ntype='Conv9')", 'model.conv_cfg.type at .*:3'),
        ("norm_cfg=dict(type='BN',\nmomentun=1)", 'model.norm_cfg.momentun at .*:3'),
        ("dcn=dict(type='DCN',\nbias=True), stage_with_dcn=(True,) * 4", 'model.dcn.bias at .*:3'),
        (
            "plugins=[dict(position='after_conv1', cfg=dict(type='ContextBlock', ratio=0.1,\npooling_type='max'))]",
            r'model.plugins.0.cfg.pooling_type at .*:3',
        ),
        ("init_cfg=dict(type='Xavier', layer='Conv2d',\ndistribution='cauchy')", 'model.init_cfg.distribution at .*:3'),
        ("init_cfg=dict(type='Pretrained',\ncheckpoint='none.pth')", 'model.init_cfg.checkpoint at .*:3'),
        ("init_cfg=dict(type='Constant', val=1,\noverride=dict(name='nothing'))", 'model.init_cfg.override at .*:3'),
    ],
)
def test_mistakes_in_parts_are_located(part, place):
    cfg = Config.fromstring(f"model = dict(type='ResNet', depth=50, base_channels=4,\n{part})")
    with pytest.raises(UserError, match=place):
        BACKBONES.build(cfg.model).init_weights()
