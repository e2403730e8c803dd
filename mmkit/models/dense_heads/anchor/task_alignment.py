"""Parts of TOOD (arXiv:2108.07755): features of each task, aligned predictions, aligned training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mmkit.bbox.assigners import TaskAlignedAssigner
from mmkit.errors import InvalidTypeError
from mmkit.layers import ConvModule, normal_init
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTargets, AnchorTraining
from mmkit.models.settings import build_assigner
from mmkit.ops import deform_conv2d
from mmkit.protocols import Assigner
from mmkit.registry import Cfg, located

_EPS = 1e-7  # of a greatest alignment, which may be 0


class TaskDecomposition(nn.Module):
    """Features of one task, from those of all layers weighted by attention.

    Args:
        feat_channels: channels of each layer, and of the result.
        num_layers: L.
        reduction: factor from all channels to those of the attention's hidden layer.
        conv_cfg, norm_cfg: kinds of the convolution over all layers.
    """

    def __init__(
        self,
        feat_channels: int,
        num_layers: int,
        reduction: int,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        channels = feat_channels * num_layers
        self.layer_attention = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, num_layers, 1),
            nn.Sigmoid(),
        )
        self.reduction_conv = ConvModule(
            channels, feat_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=norm_cfg is None
        )

    def init_weights(self) -> None:
        """Small weights, so that all layers start with the same attention."""
        for layer in self.layer_attention:
            if isinstance(layer, nn.Conv2d):
                normal_init(layer, std=0.001)
        normal_init(self.reduction_conv.conv, std=0.01)

    def forward(self, feat: Tensor, mean: Tensor) -> Tensor:
        """Features (B, L * channels, H, W) and their means (B, L * channels, 1, 1) -> (B, channels, H, W)."""
        attention = self.layer_attention(mean)  # (B, L, 1, 1)
        reduced: Tensor = self.reduction_conv(feat * attention.repeat_interleave(feat.shape[1] // self.num_layers, 1))
        return reduced


def sample_sides(bboxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes each of whose sides is that of a box nearby, found by interpolation.

    Where the sides don't make a box, it stays as it was.

    Args:
        bboxes: (B, 4, H, W) xyxy.
        offsets: (B, 8, H, W) y and x for each side, in cells.
    """
    ones = bboxes.new_ones(4, 1, 1, 1)
    sampled = deform_conv2d(bboxes, offsets.to(bboxes), ones)
    crossed = (sampled[:, :2] > sampled[:, 2:]).any(dim=1, keepdim=True)
    return torch.where(crossed, bboxes, sampled)


@dataclass(frozen=True, kw_only=True)
class TOODTraining(AnchorTraining):
    """`train_cfg` of the head.

    Attributes:
        assigner: a `TaskAlignedAssigner`.
        initial_epoch: epochs at the start that `initial_assigner` assigns.
        initial_assigner: knows anchors only.
        alpha, beta: powers of score and IoU in the alignment.

    Others as in `AnchorTraining`.
    """

    initial_epoch: int
    initial_assigner: Assigner
    alpha: float
    beta: float

    @classmethod
    def from_cfg(cls, cfg: Cfg, head: str, known: Collection[str] = (), takes_sampler: bool = True) -> Self:
        predictions = ['scores', 'bbox_preds']
        settings = super().from_cfg(cfg, head, [*known, *predictions], takes_sampler)
        if not isinstance(settings.assigner, TaskAlignedAssigner):
            kind = type(settings.assigner).__name__
            raise InvalidTypeError(f'{head}: assigner is a TaskAlignedAssigner, got {kind}', key='assigner')
        with located(cfg):
            return replace(settings, initial_assigner=build_assigner(cfg['initial_assigner'], head, known))


class AlignedTargets(NamedTuple):
    """Training targets of the N anchors of all levels, for B images."""

    anchors: AnchorTargets
    alignment: Tensor  # (B, N) of the two tasks, 0 .. 1; 0 where there is no object


def normalized_alignment(alignment: Tensor, overlaps: Tensor, gt_inds: Tensor, num_gts: int) -> Tensor:
    """Alignments (P,) of positives, scaled so that the greatest of each object is its greatest IoU.

    Args:
        alignment: (P,).
        overlaps: (P,) IoU of each with its object.
        gt_inds: (P,) its object.
        num_gts: number of objects.
    """
    greatest, best_iou = (
        each.new_zeros(num_gts).scatter_reduce(0, gt_inds, each, 'amax') for each in (alignment, overlaps)
    )
    return alignment / (greatest[gt_inds] + _EPS) * best_iou[gt_inds]
