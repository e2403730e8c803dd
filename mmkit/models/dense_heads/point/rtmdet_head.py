"""RTMDet's heads, arXiv:2212.07784."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.errors import InvalidTypeError
from mmkit.layers import BaseModule, Scale, bias_init_with_prob, normal_init
from mmkit.layers.conv_module import RELU
from mmkit.layers.csp_layer import BN, SILU
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, shared_factor
from mmkit.models.dense_heads.point.rtmdet_settings import (
    RTMDetArgs,
    RTMDetPostProcessing,
    RTMDetTraining,
)
from mmkit.models.dense_heads.point.rtmdet_targets import RTMDetTargets, rtmdet_targets
from mmkit.models.dense_heads.towers import apply_convs, conv_tower, level_towers
from mmkit.models.losses import QualityFocalLoss
from mmkit.models.settings import required
from mmkit.protocols import BoxCoder
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, PRIOR_GENERATORS, Cfg, build_from_cfg
from mmkit.structures import Batch


class RTMDetOuts(NamedTuple):
    """Predictions of each level: logits (B, C, H, W) and distances (B, 4, H, W) to the sides, in pixels.

    A head that segments also has parameters of dynamic convolutions (B, K, H, W), and the features (B, P, h, w) that
    these are applied to.
    """

    cls_scores: list[Tensor]
    distances: list[Tensor]
    kernels: list[Tensor] | None = None
    mask_feats: Tensor | None = None


@HEADS.register_module()
class RTMDetHead(BaseDenseHead[RTMDetOuts], BaseModule):
    """Class scores trained to be the IoU, and distances to the sides, at one point of each cell.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        with_objectness: a third prediction, whose geometric mean with the class is the score.
        act_cfg, norm_cfg, conv_cfg: kinds of layer of the towers.
        pred_kernel_size: of the convolutions that predict.
        stacked_convs, feat_channels: length and width of the towers.
        anchor_generator: a `MlvlPointGenerator`.
        bbox_coder: from points and distances to boxes.
        loss_cls: a `QualityFocalLoss`.
        loss_bbox: compares boxes.
        train_cfg: see `RTMDetTraining`.
        test_cfg: see `RTMDetPostProcessing`.
        init_cfg: initialisation of the weights, before biases are set.

    Attributes:
        separate_levels: each level has norm layers and predictors of its own.
        share_conv: yet the convolutions of the towers are the same for all levels.
        use_depthwise: make these depthwise separable.
        post_processing: the dataclass of `test_cfg`.
    """

    separate_levels: ClassVar[bool] = False
    post_processing: ClassVar[type[RTMDetPostProcessing]] = RTMDetPostProcessing
    share_conv: bool = True
    use_depthwise: bool = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        with_objectness: bool = True,
        act_cfg: Cfg | None = RELU,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        feat_channels: int = 256,
        anchor_generator: Cfg = dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder: Cfg = dict(type='DistancePointBBoxCoder'),
        loss_cls: Cfg = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='GIoULoss', loss_weight=2.0),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(type='Normal', layer='Conv2d', std=0.01),
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.with_objectness = with_objectness
        self.act_cfg, self.norm_cfg, self.conv_cfg = act_cfg, norm_cfg, conv_cfg
        self.pred_kernel_size = pred_kernel_size
        self.stacked_convs = stacked_convs
        self.feat_channels = feat_channels
        points = build_from_cfg(anchor_generator, PRIOR_GENERATORS)
        if not isinstance(points, MlvlPointGenerator):
            kind = type(points).__name__
            raise InvalidTypeError(f'anchor_generator is a MlvlPointGenerator, got {kind}', key='anchor_generator')
        self.prior_generator = points
        self.bbox_coder: BoxCoder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        if not isinstance(self.loss_cls, QualityFocalLoss):
            kind = type(self.loss_cls).__name__
            raise InvalidTypeError(
                f'loss_cls is a QualityFocalLoss, whose targets are qualities, got {kind}', key='loss_cls'
            )
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.train_cfg = RTMDetTraining.from_cfg(train_cfg, type(self).__name__) if train_cfg else None
        self.test_cfg = self.post_processing.from_cfg(test_cfg) if test_cfg else None
        self._init_layers()

    # ------------------------------------------------------------------ layers

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._towers(self.share_conv), self._towers(self.share_conv)
        self.rtm_cls, self.rtm_reg = self._predictor(self.num_classes), self._predictor(4)
        self.rtm_obj = self._predictor(1) if self.with_objectness else None
        if not self.separate_levels:
            self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def _towers(self, share_conv: bool) -> nn.ModuleList:
        """A tower; with `separate_levels`, one for each level."""

        def tower() -> nn.ModuleList:
            return conv_tower(
                self.in_channels,
                self.feat_channels,
                self.stacked_convs,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                act_cfg=self.act_cfg,
                use_depthwise=self.use_depthwise,
            )

        return level_towers(tower, self.prior_generator.num_levels, share_conv) if self.separate_levels else tower()

    def _predictor(self, channels: int) -> nn.Conv2d | nn.ModuleList:
        """A convolution; with `separate_levels`, one for each level."""

        def conv() -> nn.Conv2d:
            kernel = self.pred_kernel_size
            return nn.Conv2d(self.feat_channels, channels, kernel, padding=kernel // 2)

        if not self.separate_levels:
            return conv()
        return nn.ModuleList(conv() for _ in self.prior_generator.strides)

    def _at(self, layers: nn.Module, level: int) -> nn.Module:
        """The layers of one level, of those made by `_towers` or `_predictor`."""
        return layers.get_submodule(str(level)) if self.separate_levels else layers

    def init_weights(self) -> None:
        """Biases for a start at which every class is improbable, and distances are positive."""
        super().init_weights()
        for layers, bias in (
            (self.rtm_cls, bias_init_with_prob(0.01)),
            (self.rtm_obj, bias_init_with_prob(0.01)),
            (self.rtm_reg, 1.0 if self.separate_levels else 0.0),  # in strides; but a logarithm if they share layers
        ):
            for layer in layers.modules() if layers is not None else []:
                if isinstance(layer, nn.Conv2d):
                    normal_init(layer, std=0.01, bias=bias)

    def forward(self, feats: Sequence[Tensor]) -> RTMDetOuts:
        """Features (B, in_channels, H, W) of each level -> logits and distances."""
        outs = RTMDetOuts([], [])
        for level, (feat, (stride, _)) in enumerate(zip(feats, self.prior_generator.strides, strict=True)):
            cls_feat = apply_convs(self._at(self.cls_convs, level).children(), feat)
            reg_feat = cls_feat
            if self.reg_convs is not self.cls_convs:
                reg_feat = apply_convs(self._at(self.reg_convs, level).children(), feat)
            logits: Tensor = self._at(self.rtm_cls, level)(cls_feat)
            if self.rtm_obj is not None:
                objectness = self._at(self.rtm_obj, level)(reg_feat)
                logits = torch.logit((logits.sigmoid() * objectness.sigmoid()).sqrt(), eps=1e-5)
            outs.cls_scores.append(logits)
            raw = self._at(self.rtm_reg, level)(reg_feat).float()
            outs.distances.append(self._strides_of(raw, level) * stride)
        return outs

    def _strides_of(self, raw: Tensor, level: int) -> Tensor:
        """Distances in strides, from what is predicted."""
        distances: Tensor = self.scales[level](raw.exp())
        return distances

    def points(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 4) x, y, stride_w, stride_h of each level of `outputs`."""
        return self.prior_generator.grid_priors(
            featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True
        )

    # ------------------------------------------------------------------ training

    def loss(self, outs: RTMDetOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        points = torch.cat(self.points(outs.cls_scores))  # (N, 4)
        scores = flatten_levels(outs.cls_scores, self.num_classes).float()  # (B, N, C)
        distances = flatten_levels(outs.distances, 4)  # (B, N, 4)
        bboxes = self.bbox_coder.decode(points[:, :2].expand(*distances.shape[:2], 2), distances)
        valid = [
            torch.cat(self.prior_generator.valid_flags(featmap_sizes(outs.cls_scores), meta.pad_shape, points.device))
            for meta in batch.metas
        ]
        settings = required(self.train_cfg, 'train_cfg', self)
        targets = rtmdet_targets(settings, points, scores, bboxes, torch.stack(valid), batch.gts)
        return self.losses_of_targets(outs, scores, bboxes, targets, batch)

    def losses_of_targets(
        self, outs: RTMDetOuts, scores: Tensor, bboxes: Tensor, targets: RTMDetTargets, batch: Batch
    ) -> dict[str, Tensor]:
        """Losses of the scores (B, N, C) and boxes (B, N, 4) that `outs` stand for."""
        assert batch.gts is not None
        positive = targets.gt_inds >= 0  # (B, N) with P positives
        gt_bboxes = [gts.bboxes[inds[inds >= 0]] for gts, inds in zip(batch.gts, targets.gt_inds, strict=True)]
        factor = shared_factor(targets.quality.sum(), scores)
        loss_cls = self.loss_cls(
            scores.flatten(0, 1),
            (targets.labels.flatten(), targets.quality.flatten()),
            targets.label_weights.flatten(),
            avg_factor=factor,
        )
        loss_bbox = self.loss_bbox(bboxes[positive], torch.cat(gt_bboxes), targets.quality[positive], avg_factor=factor)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: RTMDetOuts) -> list[LevelPredictions]:
        levels = []
        for logits, distances, points in zip(
            outs.cls_scores, outs.distances, self.points(outs.cls_scores), strict=True
        ):
            scores = flatten_level(logits.detach().float(), self.num_classes).sigmoid()
            levels.append(LevelPredictions(scores, flatten_level(distances.detach(), 4), points))
        return levels

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points with strides (N, 4) and distances (N, 4)."""
        return self.bbox_coder.decode(priors[:, :2], box_preds, img_shape)


@HEADS.register_module()
class RTMDetSepBNHead(RTMDetHead):
    """RTMDet's head with norm layers and predictors for each level.

    Args:
        share_conv: the convolutions of the towers are the same for all levels.
        use_depthwise: make these depthwise separable.
        exp_on_reg: distances are predicted as logarithms of strides, instead of strides.

    Others as in `RTMDetHead`.
    """

    separate_levels = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        use_depthwise: bool = False,
        with_objectness: bool = True,
        norm_cfg: Cfg | None = BN,
        act_cfg: Cfg | None = SILU,
        pred_kernel_size: int = 1,
        exp_on_reg: bool = False,
        **kwargs: Unpack[RTMDetArgs],
    ) -> None:
        self.share_conv, self.use_depthwise, self.exp_on_reg = share_conv, use_depthwise, exp_on_reg
        super().__init__(
            num_classes,
            in_channels,
            with_objectness=with_objectness,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            pred_kernel_size=pred_kernel_size,
            **kwargs,
        )

    def _strides_of(self, raw: Tensor, level: int) -> Tensor:
        return raw.exp() if self.exp_on_reg else raw
