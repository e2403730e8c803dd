"""Anchors of several shapes that stand for one square in the assignment, arXiv:1901.03278."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.priors import AnchorGenerator
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.models.dense_heads.anchor.base_anchor_head import inside_image
from mmkit.protocols import PriorGenerator
from mmkit.registry import PRIOR_GENERATORS, Cfg, build_from_cfg
from mmkit.structures import ImageMeta


def build_approx_generator(cfg: Cfg, squares: PriorGenerator) -> AnchorGenerator:
    """Generator of the approxs of `squares`.

    Raises:
        InvalidValueError: if there is more than one square a cell, and for strides that differ or are not square.
        InvalidTypeError: for another kind of generator.
    """
    generator: object = build_from_cfg(cfg, PRIOR_GENERATORS)
    key = 'approx_anchor_generator'
    if not isinstance(generator, AnchorGenerator):
        raise InvalidTypeError(f'{key} must be an AnchorGenerator, got {type(generator).__name__}', key=key)
    if generator.strides != squares.strides:
        raise InvalidValueError(f'{key} has strides {generator.strides}, squares have {squares.strides}', key=key)
    if any(width != height for width, height in squares.strides):
        raise InvalidValueError(f'{key}: strides must be square, got {squares.strides}', key=key)
    if set(squares.num_base_priors) != {1}:
        message = f'square_anchor_generator makes one square a cell, this makes {squares.num_base_priors}'
        raise InvalidValueError(message, key='square_anchor_generator')
    return generator


def grid_approxs(generator: AnchorGenerator, sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """(N, A, 4) approxs of all cells of levels of `sizes`."""
    levels = generator.grid_priors(sizes, torch.float32, device)
    counts = generator.num_base_priors
    return torch.cat([level.view(-1, count, 4) for level, count in zip(levels, counts, strict=True)])


def cells_inside(
    approxs: Tensor, squares: PriorGenerator, sizes: Sequence[tuple[int, int]], meta: ImageMeta, allowed_border: float
) -> tuple[Tensor, ...]:
    """(N_l,) bool of each level: cells of the image with an approx that does not stick out too far.

    Args:
        approxs: (N, A, 4).
        squares: generator of the cells.
        sizes: (height, width) of each level.
        meta: of the image.
        allowed_border: in pixels; -1: approxs may stick out.
    """
    valid = squares.valid_flags(sizes, meta.pad_shape, approxs.device)
    of_approxs = torch.cat(valid).repeat_interleave(approxs.shape[1])
    inside = inside_image(approxs.flatten(0, 1), of_approxs, meta.img_shape, allowed_border)
    return torch.split(inside.view(approxs.shape[:2]).any(dim=1), [len(level) for level in valid])
