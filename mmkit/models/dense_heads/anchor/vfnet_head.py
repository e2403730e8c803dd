"""VarifocalNet's head, arXiv:2008.13367."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.bbox import bbox_centers, bbox_overlaps
from mmkit.errors import InvalidValueError
from mmkit.layers import ConvModule, DeformConv2d, Scale
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, BaseAnchorHead
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, shared_factor
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch

# The sampled positions of a 3x3 kernel, in its order: (dy, dx) of the grid.
_GRID = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


class VFNetOuts(NamedTuple):
    """Predictions of each level: scores (B, C, H, W), and distances to the sides (B, 4, H, W), first and refined.

    Distances are in pixels.
    """

    cls_scores: list[Tensor]
    distances: list[Tensor]
    refined: list[Tensor]


def star_offsets(distances: Tensor, stride: int) -> Tensor:
    """Offsets that move the nine positions of a 3x3 kernel to the centre, the sides and the corners of a box.

    Args:
        distances: (B, 4, H, W) to the left, top, right and bottom side, in pixels.
        stride: of the level, in pixels.

    Returns:
        (B, 18, H, W) in cells, as `DeformConv2d` takes them.
    """
    left, top, right, bottom = (distances / stride).unbind(1)
    by_direction = {-1: (-top, -left), 0: (torch.zeros_like(top),) * 2, 1: (bottom, right)}
    offsets = [each for dy, dx in _GRID for each in (by_direction[dy][0] - dy, by_direction[dx][1] - dx)]
    return torch.stack(offsets, dim=1)


@HEADS.register_module()
class VFNetHead(BaseAnchorHead[VFNetOuts]):
    """Scores trained to be the IoU of refined boxes; one anchor a cell, of which the centre is what counts.

    A first box is regressed from each point. Features sampled at a star of nine points of it refine the box and
    give the score.

    Args:
        regress_ranges, center_sampling, center_sample_radius: of the assignment without ATSS, which is not supported.
        sync_num_pos: must be True: losses are divided by means over the processes.
        gradient_mul: factor on the gradient that reaches the first box through the star.
        bbox_norm_type: unit of distances before the exponential: 'reg_denom', a length of each level, or 'stride'.
        loss_cls_fl: classification loss without `use_vfl`.
        use_vfl: the targets of scores are IoUs; `loss_cls` is a `VarifocalLoss`.
        loss_bbox_refine: of the refined boxes.
        use_atss: must be True.
        strides: of the levels; those of the anchor generator.
        dcn_on_last_conv, conv_bias, conv_cfg, norm_cfg, stacked_convs: of the two towers.

    Others as in `BaseAnchorHead`.
    """

    defaults = AnchorHeadArgs(
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            center_offset=0.0,
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        reg_decoded_bbox=True,
        loss_cls=dict(
            type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0, iou_weighted=True, loss_weight=1.0
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.5),
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='vfnet_cls', std=0.01, bias_prob=0.01),
        ),
    )
    takes_sampler = False
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        regress_ranges: Sequence[Sequence[float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        sync_num_pos: bool = True,
        gradient_mul: float = 0.1,
        bbox_norm_type: str = 'reg_denom',
        loss_cls_fl: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        use_vfl: bool = True,
        loss_bbox_refine: Cfg = dict(type='GIoULoss', loss_weight=2.0),
        use_atss: bool = True,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        stacked_convs: int = 3,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        for key, value, only in (
            ('use_atss', use_atss, True),
            ('sync_num_pos', sync_num_pos, True),
            ('center_sampling', center_sampling, False),
        ):
            if value is not only:
                raise InvalidValueError(f'VFNetHead: {key}={value!r} is not supported: ATSS assigns', key)
        if bbox_norm_type not in ('reg_denom', 'stride'):
            message = f"VFNetHead: bbox_norm_type is 'reg_denom' or 'stride', got {bbox_norm_type!r}"
            raise InvalidValueError(message, key='bbox_norm_type')
        self.stacked_convs = stacked_convs
        self.last_conv_cfg = dict(type='DCNv2') if dcn_on_last_conv else None
        self.conv_bias = conv_bias
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.gradient_mul = gradient_mul
        self.use_vfl = use_vfl
        if not use_vfl:
            kwargs['loss_cls'] = loss_cls_fl
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))
        self.loss_bbox_refine: nn.Module = build_from_cfg(loss_bbox_refine, LOSSES)
        own = [stride for stride, _ in self.prior_generator.strides]
        if list(strides) != own:
            message = f'VFNetHead: strides {list(strides)} differ from those of the anchors, {own}'
            raise InvalidValueError(message, key='strides')
        highs = [float(high) for _, high in regress_ranges]
        # Pixels in the unit of each level's distances.
        self.units = [*highs[:-1], 2 * highs[-2]] if bbox_norm_type == 'reg_denom' else [float(each) for each in own]

    def _init_layers(self) -> None:
        channels = self.feat_channels

        def tower(num_convs: int, bias: bool | str) -> nn.ModuleList:
            return conv_tower(
                self.in_channels,
                channels,
                num_convs,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                bias=bias,
                last_conv_cfg=self.last_conv_cfg,
            )

        def scales() -> nn.ModuleList:
            return nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

        self.cls_convs, self.reg_convs = (tower(self.stacked_convs, self.conv_bias) for _ in range(2))
        self.vfnet_reg_conv = ConvModule(
            channels, channels, 3, padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, bias=self.conv_bias
        )
        self.vfnet_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = scales()
        self.vfnet_reg_refine_dconv = DeformConv2d(channels, channels, 3, padding=1)
        self.vfnet_reg_refine = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales_refine = scales()
        self.vfnet_cls_dconv = DeformConv2d(channels, channels, 3, padding=1)
        self.vfnet_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> VFNetOuts:
        """Features (B, in_channels, H, W) of each level -> scores and two estimates of distances."""
        outs = VFNetOuts([], [], [])
        for level, feat in enumerate(feats):
            stride = self.prior_generator.strides[level][0]
            cls_feat, reg_feat = apply_convs(self.cls_convs, feat), apply_convs(self.reg_convs, feat)
            raw = self.scales[level](self.vfnet_reg(self.vfnet_reg_conv(reg_feat))).float()
            distances = raw.exp() * self.units[level]  # (B, 4, H, W)
            damped = (1 - self.gradient_mul) * distances.detach() + self.gradient_mul * distances
            offsets = star_offsets(damped, stride)
            reg_feat = F.relu(self.vfnet_reg_refine_dconv(reg_feat, offsets))
            factors = self.scales_refine[level](self.vfnet_reg_refine(reg_feat)).float().exp()
            outs.cls_scores.append(self.vfnet_cls(F.relu(self.vfnet_cls_dconv(cls_feat, offsets))))
            outs.distances.append(distances)
            outs.refined.append(factors * distances.detach())
        return outs

    def loss(self, outs: VFNetOuts, batch: Batch) -> dict[str, Tensor]:
        cls_scores, distances, refined = outs
        anchors = torch.cat(self.anchors(cls_scores))  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        num_pos = shared_factor(targets.num_pos, anchors)

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        pos_points = bbox_centers(anchors).expand(len(positive), -1, -1)[positive]  # (P, 2)
        pos_gts = targets.bbox_targets[positive]  # (P, 4)
        first, refined_boxes = (
            self.bbox_coder.decode(pos_points, flatten_levels(each, 4)[positive]) for each in (distances, refined)
        )
        ious = self._box_ious(refined_boxes, pos_gts)
        loss_bbox, loss_refined = (
            criterion(boxes, pos_gts, weights, avg_factor=shared_factor(weights.sum(), anchors))
            for criterion, boxes, weights in (
                (self.loss_bbox, first, self._box_ious(first, pos_gts)),
                (self.loss_bbox_refine, refined_boxes, ious),
            )
        )
        if self.use_vfl:
            quality = torch.zeros_like(scores)
            images, priors = positive.nonzero().unbind(1)
            quality[images, priors, targets.labels[positive]] = ious  # of the refined boxes
            loss_cls = self.loss_cls(scores.flatten(0, 1), quality.flatten(0, 1), avg_factor=num_pos)
        else:
            weights = targets.label_weights.flatten()
            loss_cls = self.loss_cls(scores.flatten(0, 1), targets.labels.flatten(), weights, avg_factor=num_pos)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_bbox_rf=loss_refined)

    @staticmethod
    def _box_ious(boxes: Tensor, gts: Tensor) -> Tensor:
        """(P,) overlaps of boxes (P, 4) with their objects, as weights and targets: above 0."""
        return bbox_overlaps(boxes.detach(), gts, is_aligned=True).clamp(min=1e-6)

    def level_predictions(self, outs: VFNetOuts) -> list[LevelPredictions]:
        cls_scores, _, refined = outs
        distances = [flatten_level(each.detach(), 4) for each in refined]
        points = [bbox_centers(anchors) for anchors in self.anchors(cls_scores)]
        levels = zip(self.class_probabilities(cls_scores), distances, points, strict=True)
        return [LevelPredictions(*level) for level in levels]

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points (N, 2) and distances (N, 4)."""
        return self.bbox_coder.decode(priors, box_preds, img_shape)
