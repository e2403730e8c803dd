from __future__ import annotations

import pytest
import torch

from mmkit.layers import FFN, BaseTransformerLayer, MultiheadAttention, TransformerLayerSequence

ATTENTION = dict(type='MultiheadAttention', embed_dims=8, num_heads=2)
ORDER = ('self_attn', 'norm', 'ffn', 'norm')


def layer(**arguments):
    torch.manual_seed(0)
    cfg = dict(attn_cfgs=ATTENTION, feedforward_channels=16, operation_order=ORDER)
    return BaseTransformerLayer(**(cfg | arguments)).eval()


def test_attention_adds_positions_to_queries_and_keys_only():
    torch.manual_seed(0)
    attention = MultiheadAttention(8, 2).eval()
    query, key, pos, key_pos = (torch.rand(n, 2, 8) for n in (3, 5, 3, 5))
    out = attention(query, key, query_pos=pos, key_pos=key_pos)
    expected = query + attention.attn(query + pos, key + key_pos, key)[0]
    torch.testing.assert_close(out, expected)


def test_self_attention_gives_keys_the_positions_of_queries():
    attention = MultiheadAttention(8, 2).eval()
    query, pos = torch.rand(3, 2, 8), torch.rand(3, 2, 8)
    torch.testing.assert_close(attention(query, query_pos=pos), attention(query, query_pos=pos, key_pos=pos))
    assert not torch.allclose(attention(query), attention(query, query_pos=pos))


def test_padding_is_not_attended_to():
    attention = MultiheadAttention(8, 2).eval()
    query, key = torch.rand(3, 1, 8), torch.rand(5, 1, 8)
    padding = torch.tensor([[False, False, False, True, True]])
    out = attention(query, key, key_padding_mask=padding)
    torch.testing.assert_close(out, attention(query, key[:3]))


def test_batch_first_is_the_same():
    attention, other = MultiheadAttention(8, 2).eval(), MultiheadAttention(8, 2, batch_first=True).eval()
    other.load_state_dict(attention.state_dict())
    query = torch.rand(3, 2, 8)
    torch.testing.assert_close(attention(query).transpose(0, 1), other(query.transpose(0, 1)))


def test_dropout_is_the_older_spelling():
    attention = MultiheadAttention(8, 2, dropout=0.3)
    assert attention.attn.dropout == 0.3 and attention.dropout_layer.p == 0.3
    assert FFN(8, 16, dropout=0.3).layers[0][2].p == 0.3


def test_feed_forward():
    ffn = FFN(8, 16, num_fcs=3).eval()
    x = torch.rand(4, 8)
    hidden = ffn.layers[1][0](ffn.layers[0][0](x).relu()).relu()
    torch.testing.assert_close(ffn(x), x + ffn.layers[2](hidden))
    bare = FFN(8, 16, num_fcs=3, add_identity=False).eval()
    bare.load_state_dict(ffn.state_dict())
    torch.testing.assert_close(bare(x), ffn(x) - x)
    torch.testing.assert_close(ffn(x, identity=torch.zeros_like(x)), ffn(x) - x)
    with pytest.raises(ValueError, match='num_fcs=1'):
        FFN(8, 16, num_fcs=1)


def test_norm_after_and_before():
    """After: norm(x + f(x)). Before: x + f(norm(x))."""
    x = torch.rand(3, 2, 8)
    post = layer()
    attended = post.norms[0](post.attentions[0](x))
    torch.testing.assert_close(post(x), post.norms[1](post.ffns[0](attended)))
    pre = layer(operation_order=('norm', 'self_attn', 'norm', 'ffn'))
    assert pre.pre_norm and not post.pre_norm
    attended = pre.attentions[0](pre.norms[0](x), identity=x)
    torch.testing.assert_close(pre(x), pre.ffns[0](pre.norms[1](attended), identity=attended))


def test_cross_attention_reads_the_memory():
    order = ('self_attn', 'norm', 'cross_attn', 'norm', 'ffn', 'norm')
    cross = layer(attn_cfgs=[ATTENTION, ATTENTION], operation_order=order)
    query, memory = torch.rand(3, 2, 8), torch.rand(5, 2, 8)
    out = cross(query, memory, memory)
    mid = cross.norms[0](cross.attentions[0](query))
    mid = cross.norms[1](cross.attentions[1](mid, memory, memory))
    torch.testing.assert_close(out, cross.norms[2](cross.ffns[0](mid)))


def test_layers_follow_each_other():
    cfg = dict(type='BaseTransformerLayer', attn_cfgs=ATTENTION, feedforward_channels=16, operation_order=ORDER)
    torch.manual_seed(0)
    stack = TransformerLayerSequence(cfg, num_layers=2).eval()
    x = torch.rand(3, 2, 8)
    torch.testing.assert_close(stack(x, None, None), stack.layers[1](stack.layers[0](x)))
    assert stack.embed_dims == 8 and not stack.pre_norm
    assert not torch.equal(stack.layers[0].ffns[0].layers[1].weight, stack.layers[1].ffns[0].layers[1].weight)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(attn_cfgs=[ATTENTION, ATTENTION]), 'attn_cfgs has 2 configs for 1 blocks'),
        (dict(operation_order=('self_attn', 'dance')), 'dance'),
        (dict(attn_cfgs=dict(ATTENTION, batch_first=True)), 'batch_first'),
    ],
)
def test_wrong_configs_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        layer(**wrong)
    with pytest.raises(ValueError, match='num_layers'):
        TransformerLayerSequence(dict(type='BaseTransformerLayer'))
