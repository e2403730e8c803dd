"""Reference points and boxes of queries, and how a decoder refines them layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.layers.positional_encoding import sine_embedding


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


class Proposals(NamedTuple):
    """Class logits (B, P, C) and boxes (B, P, 4), cx cy w h in 0..1, of cells, from the encoder."""

    cls_scores: Tensor
    bboxes: Tensor


class Decoded(NamedTuple):
    """Output of a decoder of L layers.

    Attributes:
        states: (L, B, Q, C) after each layer.
        references: (B, Q, 2 or 4) of each layer: what its boxes are predicted relative to; none for absolute boxes.
            Points become boxes when they are refined.
        proposals: of the encoder, with two stages.
    """

    states: Tensor
    references: list[Tensor]
    proposals: Proposals | None = None


def decode_around(
    layers: Iterable[nn.Module],
    query: Tensor,
    references: Tensor,
    attend: Callable[[nn.Module, Tensor, Tensor], Tensor],
    reg_branches: nn.ModuleList | None = None,
) -> Decoded:
    """Decode (B, Q, C) queries layer by layer; with box branches each layer refines the references of the next.

    Args:
        references: (B, Q, 2 or 4) of the first layer.
        attend: from a layer, the queries and their references to new queries.
    """
    states, all_references = [], []
    for index, layer in enumerate(layers):
        query = attend(layer, query, references)
        states.append(query)
        all_references.append(references)
        if reg_branches is not None:
            references = refine_references(references, reg_branches[index](query)).detach()
    return Decoded(torch.stack(states), all_references)
