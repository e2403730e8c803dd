from __future__ import annotations

import pytest
import torch

from mmkit.layers import GeneralizedAttention

X = torch.rand(2, 8, 5, 6)


@pytest.mark.parametrize('kind', ['1000', '0100', '0010', '0001', '1111', '0110'])
@pytest.mark.parametrize('strides', [(1, 1), (2, 2)])
def test_starts_as_the_identity_and_every_term_learns(kind, strides):
    torch.manual_seed(0)
    block = GeneralizedAttention(8, num_heads=2, attention_type=kind, kv_stride=strides[0], q_stride=strides[1])
    assert torch.equal(block(X), X)
    torch.nn.init.ones_(block.gamma)
    block(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_names():
    assert list(GeneralizedAttention(8, num_heads=2).state_dict()) == [
        'appr_bias',
        'geom_bias',
        'gamma',
        'query_conv.weight',
        'key_conv.weight',
        'value_conv.weight',
        'appr_geom_fc_x.weight',
        'appr_geom_fc_y.weight',
        'proj_conv.weight',
        'proj_conv.bias',
    ]
    block = GeneralizedAttention(8, spatial_range=1, num_heads=2, attention_type='1000')
    assert block.local_constraint_map.shape == (84, 84, 42, 42)


def test_spatial_range_zero_and_stride_one_looks_at_the_neighbours_below_only():
    block = GeneralizedAttention(8, spatial_range=0, num_heads=2, attention_type='1000', kv_stride=1)
    near = block.local_constraint_map[3, 4] == 0
    assert near.nonzero().tolist() == [[3, 4], [3, 5], [4, 4], [4, 5]]
    assert block(X).shape == X.shape
    with pytest.raises(ValueError, match='84 x 84'):
        block(torch.zeros(1, 8, 90, 2))


def test_wrong_type():
    with pytest.raises(ValueError, match='attention_type'):
        GeneralizedAttention(8, attention_type='12')
