import pytest
import torch

from mmkit.models.backbones.pvt import PyramidVisionTransformer
from mmkit.registry import BACKBONES


def small(kind=PyramidVisionTransformer, **changes):
    torch.manual_seed(0)
    cfg = dict(
        pretrain_img_size=32,
        embed_dims=4,
        num_stages=2,
        num_layers=[1, 2],
        num_heads=[1, 2],
        strides=[4, 2],
        sr_ratios=[2, 1],
        mlp_ratios=[2, 2],
        out_indices=(0, 1),
    )
    if kind is PyramidVisionTransformer:
        cfg |= dict(patch_sizes=[4, 2], paddings=[0, 0])
    return kind(**{**cfg, **changes})


class TwoStagesV2(PyramidVisionTransformer):
    """Version 2's settings with two stages; its class fixes patches for four."""

    def __init__(self, **settings):
        super().__init__(
            **settings,
            patch_sizes=[7, 3],
            paddings=[3, 1],
            use_abs_pos_embed=False,
            norm_after_stage=True,
            use_conv_ffn=True,
        )


def authors_names(state, with_positions):
    """Our tensors as the authors would store them."""
    renamed = {'head.weight': torch.zeros(1), 'cls_token': torch.zeros(1)}
    for name, tensor in state.items():
        _, stage, part, *rest = name.split('.')
        number, rest = int(stage) + 1, '.'.join(rest)
        if part == '0':
            renamed[f'patch_embed{number}.{rest.replace("projection", "proj")}'] = tensor
        elif part == '2':
            renamed[f'norm{number}.{rest}'] = tensor
        elif rest == '0.pos_embed':
            renamed[f'pos_embed{number}'] = torch.cat([torch.zeros_like(tensor[:, :1]), tensor], dim=1)
        else:
            index, rest = rest.split('.', 1)
            place = f'block{number}.{int(index) - with_positions}.'
            if 'in_proj_' in rest:
                kind, width = rest.rpartition('_')[2], len(tensor) // 3
                renamed[f'{place}attn.q.{kind}'], renamed[f'{place}attn.kv.{kind}'] = tensor[:width], tensor[width:]
                continue
            tensor = tensor.flatten(1) if rest.startswith('ffn') and tensor.shape[2:] == (1, 1) else tensor
            rest = rest.replace('attn.attn.out_proj', 'attn.proj').replace('ffn.layers.0', 'mlp.fc1')
            rest = rest.replace('ffn.layers.1', 'mlp.dwconv.dwconv')
            renamed[place + rest.replace('ffn.layers.3', 'mlp.fc2').replace('ffn.layers.4', 'mlp.fc2')] = tensor
    return renamed


@pytest.mark.parametrize('kind', [PyramidVisionTransformer, TwoStagesV2])
def test_shapes(kind):
    outs = small(kind).eval()(torch.randn(2, 3, 40, 64))
    assert [tuple(out.shape) for out in outs] == [(2, 4, 10, 16), (2, 8, 5, 8)]


@pytest.mark.parametrize('kind', [PyramidVisionTransformer, TwoStagesV2])
def test_weights_of_the_authors(kind):
    model, other = small(kind).eval(), small(kind).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    report = other.load_state_dict(authors_names(model.state_dict(), kind is PyramidVisionTransformer), strict=False)
    assert not report.missing_keys and not report.unexpected_keys
    imgs = torch.randn(1, 3, 32, 32)
    for out, expected in zip(other(imgs), model(imgs)):
        torch.testing.assert_close(out, expected)


def test_version_two_has_norms_and_no_positions():
    model = BACKBONES.build(dict(type='PyramidVisionTransformerV2', embed_dims=4, num_layers=[1, 1, 1, 1]))
    names = [name for name, _ in model.named_parameters()]
    assert 'layers.3.2.weight' in names and not any('pos_embed' in name for name in names)


def test_settings_of_another_number_of_stages_are_refused():
    with pytest.raises(ValueError, match='sr_ratios has one value for each of the 2 stages'):
        small(sr_ratios=[4, 2, 1])


def test_a_checkpoint_needs_no_type(tmp_path):
    """As in PVT's own configs."""
    weights = {name: value + 1 for name, value in small().state_dict().items()}
    torch.save(weights, tmp_path / 'a.pth')
    cfg = dict(checkpoint=str(tmp_path / 'a.pth'))
    model = small(init_cfg=cfg)
    model.init_weights()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name])
    assert cfg == dict(checkpoint=str(tmp_path / 'a.pth'))
