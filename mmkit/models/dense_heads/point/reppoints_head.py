"""RepPoints' head, arXiv:1904.11490."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.bbox.assigners import PointAssigner
from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, DeformConv2d
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTargets, AnchorTraining, matched_targets
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.models.dense_heads.levels import (
    featmap_sizes,
    flatten_level,
    flatten_levels,
    probabilities,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.models.losses import uses_sigmoid
from mmkit.models.settings import required
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg, located
from mmkit.structures import Batch, ImageMeta, Instances

TRANSFORMS = ('minmax', 'partial_minmax', 'moment')


class RepPointsOuts(NamedTuple):
    """Predictions of each level: scores (B, C, H, W), and points (B, 2n, H, W) of the first and the second stage.

    Points are (y, x) pairs, relative to the cell and in strides.
    """

    cls_scores: list[Tensor]
    pts_init: list[Tensor]
    pts_refine: list[Tensor]


@dataclass(frozen=True)
class RepPointsTraining:
    """`train_cfg` of the head: settings of the first stage, which only regresses, and of the second."""

    init: AnchorTraining
    refine: AnchorTraining


@HEADS.register_module()
class RepPointsHead(BaseDenseHead[RepPointsOuts], BaseModule):
    """Objects as sets of points, refined once; features are sampled at the points.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        feat_channels, stacked_convs: width and length of the towers.
        point_feat_channels: channels of the layers that predict.
        num_points: n, a square of an odd number.
        gradient_mul: factor on the gradient that reaches the first points through the sampled features.
        point_strides: of the levels, in pixels.
        point_base_scale: size of an object that is normal for a level, in strides.
        loss_cls, loss_bbox_init, loss_bbox_refine: configs or built objects; boxes are in normal sizes.
        use_grid_points: the points are a grid over a box, which is what is regressed.
        center_init: the first points are regressed from the centre, instead of from a square around it.
        transform_method: from points to a box: 'minmax', 'partial_minmax' (of the first four) or 'moment'.
        moment_mul: factor on the gradient of the two learned factors of 'moment'.
        conv_cfg, norm_cfg, conv_bias: of the towers; conv_bias 'auto': only without a norm layer.
        train_cfg: see `RepPointsTraining`.
        test_cfg: see `PostProcessing`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        feat_channels: int = 256,
        stacked_convs: int = 3,
        point_feat_channels: int = 256,
        num_points: int = 9,
        gradient_mul: float = 0.1,
        point_strides: Sequence[int] = (8, 16, 32, 64, 128),
        point_base_scale: float = 4,
        loss_cls: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox_init: Cfg = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=0.5),
        loss_bbox_refine: Cfg = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        use_grid_points: bool = False,
        center_init: bool = True,
        transform_method: str = 'moment',
        moment_mul: float = 0.01,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        conv_bias: bool | str = 'auto',
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='reppoints_cls_out', std=0.01, bias_prob=0.01),
        ),
    ) -> None:
        super().__init__(init_cfg)
        kernel = math.isqrt(num_points)
        if kernel**2 != num_points or kernel % 2 == 0:
            message = f'RepPointsHead: num_points is the square of an odd number, got {num_points}'
            raise InvalidValueError(message, key='num_points')
        if transform_method not in TRANSFORMS:
            message = f'RepPointsHead: transform_method is one of {TRANSFORMS}, got {transform_method!r}'
            raise InvalidValueError(message, key='transform_method')
        self.num_classes = num_classes
        self.num_points = num_points
        self.gradient_mul = gradient_mul
        self.strides = list(point_strides)
        self.point_base_scale = point_base_scale
        self.use_grid_points = use_grid_points
        self.center_init = center_init
        self.transform_method = transform_method
        self.moment_mul = moment_mul
        if transform_method == 'moment':
            self.moment_transfer = nn.Parameter(torch.zeros(2))
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox_init: nn.Module = build_from_cfg(loss_bbox_init, LOSSES)
        self.loss_bbox_refine: nn.Module = build_from_cfg(loss_bbox_refine, LOSSES)
        self.use_sigmoid_cls = uses_sigmoid(self.loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.prior_generator = MlvlPointGenerator(self.strides, offset=0.0)
        self.train_cfg = None if not train_cfg else _read_train_cfg(train_cfg)
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None

        def tower() -> nn.ModuleList:
            return conv_tower(
                in_channels, feat_channels, stacked_convs, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=conv_bias
            )

        padding = kernel // 2
        outputs = 4 if use_grid_points else 2 * num_points
        self.cls_convs, self.reg_convs = tower(), tower()
        self.reppoints_cls_conv = DeformConv2d(feat_channels, point_feat_channels, kernel, padding=padding)
        self.reppoints_cls_out = nn.Conv2d(point_feat_channels, self.cls_out_channels, 1)
        self.reppoints_pts_init_conv = nn.Conv2d(feat_channels, point_feat_channels, 3, padding=1)
        self.reppoints_pts_init_out = nn.Conv2d(point_feat_channels, outputs, 1)
        self.reppoints_pts_refine_conv = DeformConv2d(feat_channels, point_feat_channels, kernel, padding=padding)
        self.reppoints_pts_refine_out = nn.Conv2d(point_feat_channels, outputs, 1)
        steps = torch.arange(-padding, padding + 1, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(steps, steps, indexing='ij'), dim=-1).reshape(1, -1, 1, 1)
        self.register_buffer('kernel_grid', grid, persistent=False)  # (1, 2n, 1, 1) y, x that a plain kernel samples

    kernel_grid: Tensor

    def forward(self, feats: Sequence[Tensor]) -> RepPointsOuts:
        """Features (B, in_channels, H, W) of each level -> scores and points of both stages."""
        outs = RepPointsOuts([], [], [])
        for feat in feats:
            cls_feat, pts_feat = apply_convs(self.cls_convs, feat), apply_convs(self.reg_convs, feat)
            raw = self.reppoints_pts_init_out(self.reppoints_pts_init_conv(pts_feat).relu()).float()
            pts_init, boxes = self._first_points(raw)
            damped = (1 - self.gradient_mul) * pts_init.detach() + self.gradient_mul * pts_init
            offset = damped - self.kernel_grid
            raw = self.reppoints_pts_refine_out(self.reppoints_pts_refine_conv(pts_feat, offset).relu()).float()
            outs.cls_scores.append(self.reppoints_cls_out(self.reppoints_cls_conv(cls_feat, offset).relu()))
            outs.pts_init.append(pts_init)
            outs.pts_refine.append(raw + pts_init.detach() if boxes is None else self._grid(raw, boxes.detach())[0])
        return outs

    def _first_points(self, raw: Tensor) -> tuple[Tensor, Tensor | None]:
        """Points (B, 2n, H, W) of the first stage, and the boxes (B, 4, H, W) that their grids fill, if they do."""
        half = self.point_base_scale / 2
        if self.use_grid_points:
            return self._grid(raw, raw.new_tensor([-half, -half, half, half]).view(1, 4, 1, 1))
        start = 0.0 if self.center_init else self.kernel_grid / self.kernel_grid.max() * half
        return raw + start, None

    def _grid(self, deltas: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Grids of points (B, 2n, H, W) over refined boxes, and these boxes (B, 4, H, W).

        Args:
            deltas: (B, 4, H, W) shift of the centre in sides, and logarithms of factors on the sides.
            boxes: (B or 1, 4, H or 1, W or 1) x1, y1, x2, y2.
        """
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 + sides * deltas[:, :2]
        sides = sides * deltas[:, 2:].exp()
        corner = centers - sides / 2  # (B, 2, H, W)
        steps = torch.linspace(0, 1, math.isqrt(self.num_points), device=deltas.device).view(1, -1, 1, 1)
        columns, rows = (corner[:, i : i + 1] + sides[:, i : i + 1] * steps for i in (0, 1))  # (B, k, H, W)
        kernel = columns.shape[1]
        points = torch.stack(
            [rows.repeat_interleave(kernel, dim=1), columns.repeat(1, kernel, 1, 1)], dim=2
        )  # (B, n, 2, H, W)
        return points.flatten(1, 2), torch.cat([corner, corner + sides], dim=1)

    def points_to_boxes(self, points: Tensor) -> Tensor:
        """Boxes (..., 4) around n points (..., 2n) of (y, x) pairs."""
        pairs = points.unflatten(-1, (self.num_points, 2)).flip(-1)  # (..., n, 2) x, y
        if self.transform_method == 'moment':
            center, spread = pairs.mean(dim=-2), pairs.std(dim=-2)
            factors = self.moment_transfer * self.moment_mul + self.moment_transfer.detach() * (1 - self.moment_mul)
            half = spread * factors.exp()
            return torch.cat([center - half, center + half], dim=-1)
        used = pairs[..., :4, :] if self.transform_method == 'partial_minmax' else pairs
        return torch.cat([used.amin(dim=-2), used.amax(dim=-2)], dim=-1)

    def priors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 3) x, y and stride, in pixels, of each level of `outputs`."""
        levels = self.prior_generator.grid_priors(
            featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True
        )
        return [level[:, :3] for level in levels]

    # ------------------------------------------------------------------ training

    def loss(self, outs: RepPointsOuts, batch: Batch) -> dict[str, Tensor]:
        settings = required(self.train_cfg, 'train_cfg', self)
        cls_scores, pts_init, pts_refine = outs
        sizes = featmap_sizes(cls_scores)
        priors = torch.cat(self.priors(cls_scores))  # (N, 3)
        first, refined = (
            self._in_pixels(self.points_to_boxes(flatten_levels(each, 2 * self.num_points)), priors)
            for each in (pts_init, pts_refine)
        )  # (B, N, 4)
        candidates = priors
        if not isinstance(settings.init.assigner, PointAssigner):
            half = priors[:, 2:] * self.point_base_scale / 2
            candidates = torch.cat([priors[:, :2] - half, priors[:, :2] + half], dim=1)
        init = self.targets(candidates.expand(len(batch), -1, -1), sizes, settings.init, batch)
        refine = self.targets(first.detach(), sizes, settings.refine, batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()
        unit = self.point_base_scale * priors[:, 2:]  # (N, 1)
        loss_cls = self.loss_cls(
            scores.flatten(0, 1), refine.labels.flatten(), refine.label_weights.flatten(), avg_factor=refine.num_pos
        )

        def loss_bbox(criterion: nn.Module, boxes: Tensor, targets: AnchorTargets) -> Tensor:
            positive = targets.labels < self.num_classes  # (B, N) with P positives
            preds, wanted = (boxes / unit)[positive], (targets.bbox_targets / unit)[positive]  # (P, 4)
            loss: Tensor = criterion(preds, wanted, avg_factor=targets.num_pos)
            return loss

        return dict(
            loss_cls=loss_cls,
            loss_pts_init=loss_bbox(self.loss_bbox_init, first, init),
            loss_pts_refine=loss_bbox(self.loss_bbox_refine, refined, refine),
        )

    @staticmethod
    def _in_pixels(boxes: Tensor, priors: Tensor) -> Tensor:
        """Boxes (..., N, 4), relative to their cells and in strides -> pixels."""
        return boxes * priors[:, 2:] + priors[:, :2].repeat(1, 2)

    @torch.no_grad()
    def targets(
        self, candidates: Tensor, sizes: Sequence[tuple[int, int]], settings: AnchorTraining, batch: Batch
    ) -> AnchorTargets:
        """Targets of one stage; those of boxes are in pixels.

        Args:
            candidates: (B, N, 3 or 4) points or boxes.
            sizes: (height, width) of the levels.
            settings: of the stage.
            batch: the images and their objects.
        """
        assert batch.gts is not None
        images = zip(candidates, batch.gts, batch.ignored_regions, batch.metas, strict=True)
        return AnchorTargets.stack(
            [
                self._image_targets(each, gts, ignored, meta=meta, sizes=sizes, settings=settings)
                for each, gts, ignored, meta in images
            ]
        )

    def _image_targets(
        self,
        candidates: Tensor,
        gts: Instances,
        ignored: Tensor | None,
        meta: ImageMeta,
        sizes: Sequence[tuple[int, int]],
        settings: AnchorTraining,
    ) -> AnchorTargets:
        """Targets of one image, without the dimension B."""
        flags = self.prior_generator.valid_flags(sizes, meta.pad_shape, candidates.device)
        valid = torch.cat(flags).nonzero().squeeze(1)
        assignment = settings.assigner.assign(candidates[valid], gts, ignored)
        samples = settings.sampler.sample(assignment, candidates[valid], gts)
        return matched_targets(
            candidates,
            valid[samples.pos_inds],
            valid[samples.neg_inds],
            gts,
            gt_inds=samples.pos_gt_inds,
            num_classes=self.num_classes,
            pos_weight=settings.pos_weight,
        )

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: RepPointsOuts) -> list[LevelPredictions]:
        cls_scores, _, pts_refine = outs
        levels = []
        for scores, points, priors in zip(cls_scores, pts_refine, self.priors(cls_scores), strict=True):
            logits = flatten_level(scores.detach().float(), self.cls_out_channels)
            box_preds = self.points_to_boxes(flatten_level(points.detach(), 2 * self.num_points)).detach()
            levels.append(LevelPredictions(probabilities(logits, self.use_sigmoid_cls), box_preds, priors))
        return levels

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points with strides (N, 3) and boxes relative to them, in strides (N, 4)."""
        height, width = img_shape[:2]
        boxes = self._in_pixels(box_preds, priors)
        return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _read_train_cfg(cfg: Cfg) -> RepPointsTraining:
    with located(cfg):
        for key in cfg:
            if key not in ('init', 'refine'):
                raise InvalidValueError(f'train_cfg of RepPointsHead has init and refine, got {key!r}', key=key)
        missing = [key for key in ('init', 'refine') if key not in cfg]
        if missing:
            raise InvalidValueError(f'train_cfg of RepPointsHead needs {missing[0]!r}', key='train_cfg')
        return RepPointsTraining(*(AnchorTraining.from_cfg(cfg[key], 'RepPointsHead') for key in ('init', 'refine')))
