from __future__ import annotations

import pytest
import torch

from mmkit.layers import ContextBlock, NonLocal2d, build_plugin_layer

X = torch.rand(2, 8, 4, 6)


@pytest.mark.parametrize(
    'cfg, name',
    [
        (dict(type='ContextBlock', ratio=1 / 4), 'context_block_a'),
        (dict(type='NonLocal2d'), 'nonlocal_block_a'),
        (dict(type='GeneralizedAttention', num_heads=2), 'gen_attention_block_a'),
        (dict(type='ConvModule', out_channels=8, kernel_size=1), 'conv_block_a'),
        (dict(type='DropBlock', drop_prob=0.1, block_size=2), 'drop_block_a'),
    ],
)
def test_names(cfg, name):
    own, layer = build_plugin_layer(cfg, '_a', in_channels=8)
    assert own == name
    assert layer(X).shape == X.shape


@pytest.mark.parametrize('pooling', ['att', 'avg'])
@pytest.mark.parametrize('fusion', [['channel_add'], ['channel_mul'], ('channel_add', 'channel_mul')])
def test_context_block(pooling, fusion):
    block = ContextBlock(8, 0.25, pooling, fusion)
    expected = X * 0.5 if 'channel_mul' in fusion else X  # the transform starts at 0
    assert torch.allclose(block(X), expected)
    assert ('conv_mask.weight' in block.state_dict()) == (pooling == 'att')


def test_context_block_averages():
    block = ContextBlock(8, 0.25, 'avg')
    assert torch.allclose(block._context(X), X.mean((2, 3), keepdim=True))


def test_context_block_mistakes():
    with pytest.raises(ValueError, match='pooling_type'):
        ContextBlock(8, 0.25, 'max')
    with pytest.raises(ValueError, match='fusion_types'):
        ContextBlock(8, 0.25, fusion_types=('concat',))


@pytest.mark.parametrize('mode', ['gaussian', 'embedded_gaussian', 'dot_product', 'concatenation'])
@pytest.mark.parametrize('sub_sample', [False, True])
def test_non_local(mode, sub_sample):
    block = NonLocal2d(8, mode=mode, sub_sample=sub_sample)
    assert torch.equal(block(X), X)
    assert block(X).shape == X.shape
    block = NonLocal2d(8, mode=mode, sub_sample=sub_sample, zeros_init=False, norm_cfg=dict(type='BN'))
    assert block(X).shape == X.shape


def test_gaussian_attention_over_equal_positions_is_a_mean():
    block = NonLocal2d(8, mode='embedded_gaussian')
    flat = torch.ones(1, 8, 2, 2)
    assert torch.allclose(block._similarity(flat), torch.full((1, 4, 4), 0.25))
    with pytest.raises(ValueError, match='cubic'):
        NonLocal2d(8, mode='cubic')
