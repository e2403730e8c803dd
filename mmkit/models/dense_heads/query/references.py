"""Reference points and boxes of queries, and how a decoder refines them layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmkit.layers.positional_encoding import sine_embedding
from mmkit.models.dense_heads.query.outputs import Decoded


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of `x` in 0..1, finite at both ends."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def refine_references(references: Tensor, deltas: Tensor, eps: float = 1e-5) -> Tensor:
    """(..., 2 or 4) references in 0..1 moved by (..., 4) `deltas` in logit space: (..., 4) cx cy w h in 0..1."""
    offset = inverse_sigmoid(references, eps)
    if references.shape[-1] == 2:
        offset = torch.cat([offset, torch.zeros_like(offset)], dim=-1)
    return (deltas + offset).sigmoid()


def encode_references(references: Tensor, num_feats: int) -> Tensor:
    """(..., 2 or 4) x y (w h) in 0..1 -> (..., 2 or 4 times num_feats), in the order y x (w h) of encoded cells."""
    order = [1, 0, 2, 3][: references.shape[-1]]
    return sine_embedding(references[..., order] * 2 * math.pi, num_feats, 10000).flatten(-2)


Attend = Callable[[int, Tensor, Tensor], Tensor]  # (index of a layer, queries, their references) -> new queries
Refine = Callable[[int, Tensor], Tensor]  # (index of a layer, its queries) -> offsets (B, Q, 4) of boxes, in logits


def refine_with(branches: nn.ModuleList) -> Refine:
    """Refinement with a box branch for each layer."""
    return lambda index, query: branches[index](query)


def decode_around(
    num_layers: int,
    query: Tensor,
    references: Tensor,
    attend: Attend,
    refine: Refine | None = None,
    look_twice: bool = False,
) -> Decoded:
    """Decode (B, Q, C) queries layer by layer; with `refine` each layer moves the references of the next.

    Args:
        references: (B, Q, 2 or 4) of the first layer.
        look_twice: the boxes of a layer get gradients from the next layer's, too (DINO, arXiv:2203.03605).
    """
    states, starts = [], [references]
    for index in range(num_layers):
        query = attend(index, query, references)
        states.append(query)
        if refine is not None:
            refined = refine_references(references, refine(index, query), eps=1e-3 if look_twice else 1e-5)
            references = refined.detach()
            starts.append(refined if look_twice else references)
        else:
            starts.append(references)
    return Decoded(torch.stack(states), starts[:-1])
