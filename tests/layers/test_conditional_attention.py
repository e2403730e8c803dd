from __future__ import annotations

import math

import pytest
import torch

from mmkit.layers.conditional_attention import ConditionalAttention


def inputs(queries: int = 3, keys: int = 5) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, count, 8) for count in (queries, keys, queries, keys, queries)]


@torch.no_grad()
@pytest.mark.parametrize('with_query_pos', [True, False])
def test_contents_and_positions_are_compared_side_by_side(with_query_pos: bool) -> None:
    """Against the scores written out: content with content plus spatial query with position, for each head."""
    layer = ConditionalAttention(8, 2, cross_attn=True, with_query_pos=with_query_pos)
    query, key, query_pos, key_pos, spatial = inputs()
    q, k, v = layer.qcontent_proj(query), layer.kcontent_proj(key), layer.v_proj(key)
    k_pos, sine = layer.kpos_proj(key_pos), layer.qpos_sine_proj(spatial)
    if with_query_pos:
        q, k = q + layer.qpos_proj(query_pos), k + k_pos
    parts = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[..., head] @ k[..., head].mT + sine[..., head] @ k_pos[..., head].mT
        parts.append((scores / math.sqrt(8)).softmax(-1) @ v[..., head])
    expected = query + layer.out_proj(torch.cat(parts, dim=-1))
    torch.testing.assert_close(layer(query, key, query_pos, key_pos, spatial), expected)


@torch.no_grad()
def test_padding_plays_no_part() -> None:
    layer = ConditionalAttention(8, 2, cross_attn=True)
    query, key, query_pos, key_pos, spatial = inputs()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[:, 3:] = True
    masked = layer(query, key, query_pos, key_pos, spatial, key_padding_mask=padding)
    torch.testing.assert_close(masked, layer(query, key[:, :3], query_pos, key_pos[:, :3], spatial))


def test_cross_attention_needs_spatial_queries() -> None:
    query, key, query_pos, key_pos, _ = inputs()
    with pytest.raises(ValueError, match='needs `spatial`'):
        ConditionalAttention(8, 2, cross_attn=True)(query, key, query_pos, key_pos)
    assert ConditionalAttention(8, 2)(query, query, query_pos, query_pos).shape == query.shape
