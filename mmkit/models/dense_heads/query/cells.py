"""Cells of all feature levels as one sequence of tokens, and what a transformer needs to know of their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkit.errors import InvalidValueError
from mmkit.layers import Sampling
from mmkit.layers.positional_encoding import sine_embedding
from mmkit.models.dense_heads.query.outputs import Proposals


class Cells(NamedTuple):
    """The cells of the L levels of B images, one level after the other.

    Attributes:
        tokens: (B, S, C) features.
        pos: (B, S, C), encoded positions.
        padding: (B, S) bool, True where the image is padded.
        shapes: (height, width) of each level.
        valid_ratios: (B, L, 2), the share of each level (x, y) that is image.
    """

    tokens: Tensor
    pos: Tensor
    padding: Tensor
    shapes: list[tuple[int, int]]
    valid_ratios: Tensor

    def around(self, references: Tensor) -> Sampling:
        """Sampling around (B, Q, 2 or 4) references, which are in shares of the images."""
        ratios = self.valid_ratios.repeat(1, 1, references.shape[-1] // 2)  # (B, L, 2 or 4)
        return Sampling(references[:, :, None] * ratios[:, None], self.shapes)


def resize_mask(mask: Tensor | None, feat: Tensor) -> Tensor:
    """(B, H, W) mask at the cells of a (B, C, h, w) level; without a mask nothing is padding."""
    if mask is None:
        return torch.zeros(len(feat), *feat.shape[-2:], dtype=torch.bool, device=feat.device)
    return functional.interpolate(mask[:, None].float(), size=feat.shape[-2:])[:, 0].bool()


def flatten_levels(
    feats: Sequence[Tensor], mask: Tensor | None, encoding: nn.Module, level_embeds: Tensor | None = None
) -> Cells:
    """The cells of levels (B, C, h, w).

    Args:
        mask: (B, H, W) bool, True where the images are padded; None: nowhere.
        encoding: of the positions of cells, from masks (B, h, w) to (B, C, h, w).
        level_embeds: (L, C), added to the positions of each level.

    Raises:
        InvalidValueError: if there are more or fewer levels than `level_embeds`.
    """
    if level_embeds is not None and len(feats) != len(level_embeds):
        message = f'num_feature_levels is {len(level_embeds)}, the neck gives {len(feats)} levels'
        raise InvalidValueError(message, key='num_feature_levels')
    masks = [resize_mask(mask, feat) for feat in feats]
    pos = [encoding(each).flatten(2) for each in masks]  # (B, C, h * w)
    if level_embeds is not None:
        pos = [each + embed[:, None] for each, embed in zip(pos, level_embeds, strict=True)]
    return Cells(
        tokens=torch.cat([feat.flatten(2) for feat in feats], dim=2).transpose(1, 2),
        pos=torch.cat(pos, dim=2).transpose(1, 2),
        padding=torch.cat([each.flatten(1) for each in masks], dim=1),
        shapes=[(feat.shape[-2], feat.shape[-1]) for feat in feats],
        valid_ratios=torch.stack([_valid_ratio(each) for each in masks], dim=1),
    )


def _valid_ratio(mask: Tensor) -> Tensor:
    """(B, h, w) padding -> (B, 2): the shares of width and height that are image."""
    inside = ~mask
    return torch.stack([inside[:, 0].float().mean(-1), inside[:, :, 0].float().mean(-1)], dim=-1)


def _centers(shape: tuple[int, int], device: torch.device) -> Tensor:
    """(1, h * w, 2): x and y of the centres of the cells of a level, in cells."""
    height, width = shape
    ys, xs = (torch.arange(size, device=device) + 0.5 for size in (height, width))
    return torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1).view(1, -1, 2)


def _size(shape: tuple[int, int], device: torch.device) -> Tensor:
    return torch.tensor([shape[1], shape[0]], device=device)


def cell_references(cells: Cells) -> Tensor:
    """(B, S, 2): the centre of each cell, in shares of its image."""
    device = cells.tokens.device
    points = [
        _centers(shape, device) / _size(shape, device) / cells.valid_ratios[:, level, None]
        for level, shape in enumerate(cells.shapes)
    ]
    return torch.cat(points, dim=1)


def cell_anchors(cells: Cells) -> tuple[Tensor, Tensor]:
    """A box around each cell, twentieth of the image on the first level and twice the last one's on the others.

    Returns:
        (B, S, 4) logits of cx cy w h, infinite where the cell is of no use, and (B, S, 1) bool, True where it is of
        use: not in the padding, nor within a hundredth of the border.
    """
    device = cells.tokens.device
    anchors = []
    for level, shape in enumerate(cells.shapes):
        valid = (cells.valid_ratios[:, level] * _size(shape, device)).round()  # (B, 2) width and height of the image
        centers = _centers(shape, device) / valid[:, None]
        anchors.append(torch.cat([centers, torch.full_like(centers, 0.05 * 2.0**level)], dim=-1))
    boxes = torch.cat(anchors, dim=1)  # (B, S, 4)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True) & ~cells.padding[..., None]
    return torch.log(boxes / (1 - boxes)).masked_fill(~usable, float('inf')), usable


def propose(
    cells: Cells, project: Callable[[Tensor], Tensor], cls_branches: nn.ModuleList, reg_branches: nn.ModuleList
) -> list[Proposals]:
    """Detections of the encoder, one for each cell, by each pair of branches.

    Args:
        cells: what the encoder made of them.
        project: of tokens (B, S, C), before the branches.
    """
    anchors, usable = cell_anchors(cells)
    tokens = project(cells.tokens.masked_fill(~usable, 0.0))
    return [
        Proposals(cls(tokens), (reg(tokens) + anchors).sigmoid())
        for cls, reg in zip(cls_branches, reg_branches, strict=True)
    ]


def pick(x: Tensor, inds: Tensor) -> Tensor:
    """Rows `inds` (B, K) of x (B, S, C): (B, K, C)."""
    return x.gather(1, inds[..., None].expand(-1, -1, x.shape[-1]))


def best_cells(scores: Tensor, count: int) -> Tensor:
    """Indices (B, K) of the greatest of scores (B, S), greatest first, at most `count`."""
    return scores.topk(min(count, scores.shape[1]), dim=1).indices


def encode_boxes(boxes: Tensor, embed_dims: int) -> Tensor:
    """(B, Q, 4) boxes in 0..1 -> (B, Q, 2 * embed_dims)."""
    return sine_embedding(boxes * 2 * math.pi, embed_dims // 2, 10000).flatten(2)
