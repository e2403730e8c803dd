"""YOLOv3's head, arXiv:1804.02767."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmkit.bbox.coders import YOLOBBoxCoder
from mmkit.bbox.priors import YOLOAnchorGenerator
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing, detect
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level
from mmkit.models.dense_heads.training_settings import DenseTraining
from mmkit.models.settings import required
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, PRIOR_GENERATORS, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo


@dataclass(frozen=True)
class YOLOPostProcessing(PostProcessing):
    """As `PostProcessing`, but nothing is chosen level by level.

    Attributes:
        conf_thr: boxes whose objectness is below it are dropped; -1: none.
        limit_candidates: at most `nms_pre` pairs of box and class go into NMS, the best of all levels by class score;
            otherwise all do.
    """

    conf_thr: float = -1
    limit_candidates: bool = False


@HEADS.register_module()
class YOLOV3Head(BaseDenseHead[list[Tensor]], BaseModule):
    """Centre within the cell, size, objectness and class scores of each anchor.

    Args:
        num_classes: C.
        in_channels: channels of each level, the coarsest first.
        out_channels: channels of the 3x3 convolution of each level.
        anchor_generator, bbox_coder: configs or built objects.
        featmap_strides: of the levels, in pixels.
        one_hot_smoother: s; class targets are s / C and 1 - s + s / C instead of 0 and 1.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        loss_cls, loss_conf, loss_xy, loss_wh: of classes, objectness, centre and size; one call per level.
        train_cfg: see `DenseTraining`.
        test_cfg: see `YOLOPostProcessing`.
    """

    test_cfg: YOLOPostProcessing | None

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int] = (1024, 512, 256),
        anchor_generator: Cfg = dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(116, 90), (156, 198), (373, 326)],
                [(30, 61), (62, 45), (59, 119)],
                [(10, 13), (16, 30), (33, 23)],
            ],
            strides=[32, 16, 8],
        ),
        bbox_coder: Cfg = dict(type='YOLOBBoxCoder'),
        featmap_strides: Sequence[int] = (32, 16, 8),
        one_hot_smoother: float = 0.0,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='BN', requires_grad=True),
        act_cfg: Cfg | None = dict(type='LeakyReLU', negative_slope=0.1),
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_conf: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_xy: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_wh: Cfg = dict(type='MSELoss', loss_weight=1.0),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(type='Normal', std=0.01, override=dict(name='convs_pred')),
    ) -> None:
        super().__init__(init_cfg)
        if not len(in_channels) == len(out_channels) == len(featmap_strides):
            raise InvalidValueError(
                f'YOLOV3Head: {len(in_channels)} in_channels, {len(out_channels)} out_channels '
                f'and {len(featmap_strides)} featmap_strides',
                key='featmap_strides',
            )
        self.num_classes = num_classes
        self.featmap_strides = list(featmap_strides)
        self.one_hot_smoother = one_hot_smoother
        coder: object = build_from_cfg(bbox_coder, BBOX_CODERS)
        generator: object = build_from_cfg(anchor_generator, PRIOR_GENERATORS)
        if not isinstance(coder, YOLOBBoxCoder):
            raise InvalidTypeError(
                f'YOLOV3Head: bbox_coder must be a YOLOBBoxCoder, got {type(coder).__name__}', key='bbox_coder'
            )
        if not isinstance(generator, YOLOAnchorGenerator):
            raise InvalidTypeError(
                f'YOLOV3Head: anchor_generator must be a YOLOAnchorGenerator, got {type(generator).__name__}',
                key='anchor_generator',
            )
        self.bbox_coder, self.prior_generator = coder, generator
        self.num_base_priors = generator.num_base_priors[0]
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_conf: nn.Module = build_from_cfg(loss_conf, LOSSES)
        self.loss_xy: nn.Module = build_from_cfg(loss_xy, LOSSES)
        self.loss_wh: nn.Module = build_from_cfg(loss_wh, LOSSES)
        self.test_cfg = YOLOPostProcessing.from_cfg(test_cfg) if test_cfg else None
        self.train_cfg = None
        if train_cfg:
            self.train_cfg = DenseTraining.from_cfg(train_cfg, type(self).__name__, known=['responsible'])
        self.convs_bridge = nn.ModuleList(
            ConvModule(a, b, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
            for a, b in zip(in_channels, out_channels)
        )
        self.convs_pred = nn.ModuleList(
            nn.Conv2d(b, self.num_base_priors * self.num_attributes, 1) for b in out_channels
        )

    @property
    def num_attributes(self) -> int:
        """Number of predictions of an anchor: x, y, w, h, objectness, classes."""
        return 5 + self.num_classes

    def init_weights(self) -> None:
        """Biases for a start with 8 objects in an image of 608 x 608, and nearly equally likely classes."""
        super().init_weights()
        for conv, stride in zip(self.convs_pred.children(), self.featmap_strides):
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            bias = conv.bias.data.view(self.num_base_priors, -1)
            bias[:, 4] += math.log(8 / (608 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.num_classes - 0.99))

    def forward(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Features of each level -> predictions (B, A * (5 + C), H, W)."""
        levels = zip(feats, self.convs_bridge, self.convs_pred, strict=True)
        return [predict(bridge(feat)) for feat, bridge, predict in levels]

    def anchors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W*A, 4) anchors of each level of `outputs`."""
        return self.prior_generator.grid_priors(featmap_sizes(outputs), torch.float32, outputs[0].device)

    # ------------------------------------------------------------------ training

    def loss(self, outs: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        levels = self.anchors(outs)
        sizes = [len(level) for level in levels]
        anchors = torch.cat(levels)  # (N, 4)
        strides = torch.cat([a.new_full((len(a),), s) for a, s in zip(levels, self.featmap_strides)])
        pairs = [self.targets(anchors, strides, featmap_sizes(outs), gts) for gts in batch.gts]
        targets = torch.split(torch.stack([target for target, _ in pairs]), sizes, dim=1)
        negatives = torch.split(torch.stack([negative for _, negative in pairs]), sizes, dim=1)

        losses: dict[str, list[Tensor]] = dict(loss_cls=[], loss_conf=[], loss_xy=[], loss_wh=[])
        for out, target, negative in zip(outs, targets, negatives):
            preds = flatten_level(out.float(), self.num_attributes)  # (B, N_l, 5 + C)
            positive = target[..., 4]
            box_weights = positive[..., None]
            losses['loss_cls'].append(self.loss_cls(preds[..., 5:], target[..., 5:], box_weights))
            losses['loss_conf'].append(self.loss_conf(preds[..., 4], positive, (positive + negative).clamp(max=1)))
            losses['loss_xy'].append(self.loss_xy(preds[..., :2], target[..., :2], box_weights))
            losses['loss_wh'].append(self.loss_wh(preds[..., 2:4], target[..., 2:4], box_weights))
        return {name: torch.stack(parts).sum() for name, parts in losses.items()}

    @torch.no_grad()
    def targets(
        self, anchors: Tensor, strides: Tensor, sizes: Sequence[tuple[int, int]], gts: Instances
    ) -> tuple[Tensor, Tensor]:
        """Targets (N, 5 + C) of the anchors of one image, and (N,) 1 for those without an object, else 0."""
        settings = required(self.train_cfg, 'train_cfg', self)
        responsible = torch.cat(self.prior_generator.responsible_flags(sizes, gts.bboxes, anchors.device))
        assignment = settings.assigner.assign(anchors, gts, info=PriorInfo(responsible=responsible))
        samples = settings.sampler.sample(assignment, anchors, gts)
        assert samples.pos_gt_labels is not None
        pos = samples.pos_inds
        target = anchors.new_zeros(len(anchors), self.num_attributes)
        target[pos, :4] = self.bbox_coder.encode(samples.pos_bboxes, samples.pos_gt_bboxes, strides[pos])
        target[pos, 4] = 1
        smooth = self.one_hot_smoother
        target[pos, 5:] = smooth / self.num_classes
        target[pos, 5 + samples.pos_gt_labels] += 1 - smooth
        negative = anchors.new_zeros(len(anchors))
        negative[samples.neg_inds] = 1
        return target, negative

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: list[Tensor]) -> list[LevelPredictions]:
        """A score is that of the class times the objectness; a prior is an anchor and its stride."""
        levels = []
        for out, anchors, stride in zip(outs, self.anchors(outs), self.featmap_strides, strict=True):
            preds = flatten_level(out.detach().float(), self.num_attributes)  # (B, N, 5 + C)
            priors = torch.cat([anchors, anchors.new_full((len(anchors), 1), stride)], dim=1)
            levels.append(LevelPredictions(preds[..., 5:].sigmoid(), preds[..., :4], priors, preds[..., 4].sigmoid()))
        return levels

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes, not clipped, from anchors with strides (N, 5) and raw centres and sizes (N, 4)."""
        preds = torch.cat([box_preds[:, :2].sigmoid(), box_preds[:, 2:]], dim=1)
        return self.bbox_coder.decode(priors[:, :4], preds, priors[:, 4])

    def predict(
        self,
        outs: list[Tensor],
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, best first; boxes whose objectness is below `conf_thr` are dropped."""
        settings = YOLOPostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        scores, box_preds, priors, factors = zip(*self.level_predictions(outs), strict=True)
        objectness = torch.cat(factors, dim=1)  # (B, N)
        unlikely = (objectness < settings.conf_thr)[..., None]
        everything = LevelPredictions(
            torch.cat(scores, dim=1).masked_fill(unlikely, -1),  # below any threshold
            torch.cat(box_preds, dim=1),
            torch.cat(priors),
            objectness,
        )
        chosen = settings if settings.limit_candidates else replace(settings, nms_pre=-1)
        return detect([everything], self.decode_boxes, metas, chosen, rescale)
