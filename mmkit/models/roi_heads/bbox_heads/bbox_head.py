"""The head that classifies a region and refines its box."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.bbox import multiclass_nms
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule, build_linear_layer
from mmkit.layers.init import InitCfg
from mmkit.models.losses import accuracy
from mmkit.ops import pair
from mmkit.protocols import NMSSettings, RoITargets, ScoringLoss
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, Cfg
from mmkit.structures import ImageMeta, Instances, SamplingResult
from mmkit.structures.assignment import RegionPredictions


@HEADS.register_module(['BBoxHead', 'ConvFCBBoxHead'])
class BBoxHead(BaseModule):
    """C + 1 class scores and 4 or 4C deltas from the features of a region (arXiv:1504.08083).

    Without hidden layers it is two linear layers; with them:

        shared convs -> shared fcs -> cls convs -> cls fcs -> fc_cls
                                   -> reg convs -> reg fcs -> fc_reg

    Args:
        num_shared_convs, num_cls_convs, num_reg_convs: 3x3 convolutions to `conv_out_channels`.
        num_shared_fcs, num_cls_fcs, num_reg_fcs: linear layers to `fc_out_channels`.
        conv_cfg, norm_cfg: kind of the convolutions and of the norm after them.
        with_avg_pool: average over the region's cells before the first linear layer instead of flattening them.
        with_cls, with_reg: which of the two outputs there are; a missing one is None.
        roi_feat_size: cells of a region, int or (h, w).
        num_classes: C, without background.
        reg_class_agnostic: one box for all classes.
        reg_decoded_bbox: the box loss compares decoded boxes (for IoU losses) instead of deltas.
        reg_predictor_cfg, cls_predictor_cfg: kind of the two last layers.

    Raises:
        InvalidValueError: without outputs, for layers of an output that there isn't, and for convolutions after shared
            linear layers.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset

    def __init__(
        self,
        *,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: Cfg = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: Cfg = dict(type='Linear'),
        cls_predictor_cfg: Cfg = dict(type='Linear'),
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    ) -> None:
        super().__init__(init_cfg)
        if not (with_cls or with_reg):
            raise InvalidValueError('a box head needs with_cls or with_reg', key='with_cls')
        if num_shared_fcs and (num_cls_convs or num_reg_convs):
            raise InvalidValueError('no num_cls_convs or num_reg_convs after shared linear layers', 'num_shared_fcs')
        if ((num_cls_convs or num_cls_fcs) and not with_cls) or ((num_reg_convs or num_reg_fcs) and not with_reg):
            raise InvalidValueError('layers of a branch that with_cls or with_reg switches off')
        self.num_classes = num_classes
        self.reg_class_agnostic = reg_class_agnostic
        self.reg_decoded_bbox = reg_decoded_bbox
        self.bbox_coder = BBOX_CODERS.build(bbox_coder)
        self.loss_cls = LOSSES.build(loss_cls)
        self.loss_bbox = LOSSES.build(loss_bbox)
        height, width = pair(roi_feat_size, 'roi_feat_size')
        self.avg_pool = nn.AvgPool2d((height, width)) if with_avg_pool else None
        channels, area = in_channels, 1 if with_avg_pool else height * width

        def convs(count: int, channels: int) -> nn.ModuleList:
            widths = [channels, *[conv_out_channels] * count]
            return nn.ModuleList(
                ConvModule(a, b, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg) for a, b in pairwise(widths)
            )

        def fcs(count: int, channels: int) -> nn.ModuleList:
            widths = [channels, *[fc_out_channels] * count]
            return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

        self.shared_convs = convs(num_shared_convs, channels)
        channels = conv_out_channels if num_shared_convs else channels
        self.shared_fcs = fcs(num_shared_fcs, channels * area)
        if num_shared_fcs:
            channels, area = fc_out_channels, 1
        self.cls_convs = convs(num_cls_convs, channels)
        self.reg_convs = convs(num_reg_convs, channels)
        cls_channels = (conv_out_channels if num_cls_convs else channels) * area
        reg_channels = (conv_out_channels if num_reg_convs else channels) * area
        self.cls_fcs = fcs(num_cls_fcs, cls_channels)
        self.reg_fcs = fcs(num_reg_fcs, reg_channels)
        self.relu = nn.ReLU(inplace=True)
        self.fc_cls: nn.Module | None = None
        if with_cls:
            loss = self.loss_cls
            outputs = loss.get_cls_channels(num_classes) if isinstance(loss, ScoringLoss) else num_classes + 1
            inputs = fc_out_channels if num_cls_fcs else cls_channels
            self.fc_cls = build_linear_layer(cls_predictor_cfg, in_features=inputs, out_features=outputs)
        self.fc_reg: nn.Module | None = None
        if with_reg:
            outputs = 4 if reg_class_agnostic else 4 * num_classes
            inputs = fc_out_channels if num_reg_fcs else reg_channels
            self.fc_reg = build_linear_layer(reg_predictor_cfg, in_features=inputs, out_features=outputs)
        if init_cfg is None:
            self.init_cfg = self._default_init()

    def _default_init(self) -> list[dict[str, Any]]:
        init: list[dict[str, Any]] = []
        if self.fc_cls is not None:
            init.append(dict(type='Normal', std=0.01, override=dict(name='fc_cls')))
        if self.fc_reg is not None:
            init.append(dict(type='Normal', std=0.001, override=dict(name='fc_reg')))
        hidden = [dict(name=name) for name in ('shared_fcs', 'cls_fcs', 'reg_fcs')]
        return [*init, dict(type='Xavier', distribution='uniform', override=hidden)]

    def forward(self, feats: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(R, in_channels, h, w) -> class scores (R, C + 1) and deltas (R, 4 or 4C)."""
        for conv in self.shared_convs:
            feats = conv(feats)
        if len(self.shared_fcs):
            feats = self._hidden(feats, self.shared_fcs)
        cls_score = bbox_pred = None
        if self.fc_cls is not None:
            cls_score = self.fc_cls(self._branch(feats, self.cls_convs, self.cls_fcs))
        if self.fc_reg is not None:
            bbox_pred = self.fc_reg(self._branch(feats, self.reg_convs, self.reg_fcs))
        return cls_score, bbox_pred

    def _branch(self, feats: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        for conv in convs:
            feats = conv(feats)
        return self._hidden(feats, fcs)

    def _hidden(self, feats: Tensor, fcs: nn.ModuleList) -> Tensor:
        if feats.dim() > 2 and self.avg_pool is not None:
            feats = self.avg_pool(feats)
        feats = feats.flatten(1)
        for fc in fcs:
            feats = self.relu(fc(feats))
        return feats

    # ------------------------------------------------------------------ training

    @torch.no_grad()
    def targets(self, samples: Sequence[SamplingResult], pos_weight: float = -1) -> RoITargets:
        """Targets of the sampled regions of all images, each image's positives before its negatives."""
        parts = [self._image_targets(each, pos_weight) for each in samples]
        return RoITargets(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _image_targets(self, samples: SamplingResult, pos_weight: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        num_pos, num = len(samples.pos_inds), len(samples.bboxes)
        bboxes = samples.bboxes
        labels = torch.full((num,), self.num_classes, dtype=torch.long, device=bboxes.device)
        label_weights = bboxes.new_ones(num)
        pos_targets, pos_weights = self._box_targets(samples)
        padding = (0, 0, 0, num - num_pos)
        bbox_targets, bbox_weights = F.pad(pos_targets, padding), F.pad(pos_weights, padding)
        if num_pos:
            assert samples.pos_gt_labels is not None
            labels[:num_pos] = samples.pos_gt_labels
            if pos_weight > 0:
                label_weights[:num_pos] = pos_weight
        if samples.neg_weights is not None:
            label_weights[num_pos:] = samples.neg_weights
        return labels, label_weights, bbox_targets, bbox_weights

    def _box_targets(self, samples: SamplingResult) -> tuple[Tensor, Tensor]:
        """Targets and weights of the boxes of the positives, (P, 4) each."""
        if self.reg_decoded_bbox:
            bbox_targets = samples.pos_gt_bboxes
        else:
            bbox_targets = self.bbox_coder.encode(samples.pos_bboxes, samples.pos_gt_bboxes)
        return bbox_targets, torch.ones_like(bbox_targets)

    def loss(
        self, cls_score: Tensor | None, bbox_pred: Tensor | None, rois: Tensor, targets: RoITargets
    ) -> dict[str, Tensor]:
        """`loss_cls`, `acc` (percent) and `loss_bbox` of the outputs for (R, 5) `rois`."""
        losses: dict[str, Tensor] = {}
        if cls_score is not None:
            losses.update(self._cls_loss(cls_score.float(), targets))
        if bbox_pred is not None:
            losses['loss_bbox'] = self._box_loss(bbox_pred.float(), rois, targets)
        return losses

    def _cls_loss(self, cls_score: Tensor, targets: RoITargets) -> dict[str, Tensor]:
        if not cls_score.numel():
            return dict(loss_cls=cls_score.sum(), acc=cls_score.new_zeros(1))
        avg_factor = max(float((targets.label_weights > 0).sum()), 1.0)
        loss = self.loss_cls(cls_score, targets.labels, targets.label_weights, avg_factor=avg_factor)
        losses = loss if isinstance(loss, dict) else dict(loss_cls=loss)
        if isinstance(self.loss_cls, ScoringLoss):
            return {**losses, **self.loss_cls.get_accuracy(cls_score, targets.labels)}
        return {**losses, 'acc': accuracy(cls_score, targets.labels)}

    def _box_loss(self, bbox_pred: Tensor, rois: Tensor, targets: RoITargets) -> Tensor:
        positive = (targets.labels >= 0) & (targets.labels < self.num_classes)
        if not positive.any():
            return bbox_pred[positive].sum()
        preds = self.deltas_of(bbox_pred[positive], targets.labels[positive])
        if self.reg_decoded_bbox:
            preds = self.bbox_coder.decode(rois[positive, 1:], preds)
        bbox_targets, weights = targets.bbox_targets[positive], targets.bbox_weights[positive]
        loss: Tensor = self.loss_bbox(preds, bbox_targets, weights, avg_factor=len(targets.labels))
        return loss

    def deltas_of(self, bbox_pred: Tensor, labels: Tensor) -> Tensor:
        """The predictions that belong to each region's label, (R, 4) out of (R, 4C); or all, if they have no class."""
        if self.reg_class_agnostic:
            return bbox_pred
        rows = torch.arange(len(labels), device=labels.device)
        return bbox_pred.view(len(bbox_pred), self.num_classes, 4)[rows, labels]

    @torch.no_grad()
    def hard_losses(self, feats: Tensor, labels: Tensor) -> Tensor:
        """(R,) classification losses of (R, in_channels, h, w) regions, for OHEM; a label of -1 is background.

        Raises:
            InvalidValueError: if the classification loss has several parts.
        """
        cls_score, _ = self(feats)
        return self.unreduced_losses(cls_score, labels)

    @torch.no_grad()
    def background_predictions(self, feats: Tensor, bboxes: Tensor) -> RegionPredictions:
        """Losses, best probabilities and their boxes of regions (R, C, h, w), with boxes (R, 4), on the background."""
        cls_score, bbox_pred = self(feats)
        scores, labels = self.probabilities(cls_score)[:, :-1].max(dim=1)
        if bbox_pred is not None:
            bboxes = self.bbox_coder.decode(bboxes, self.deltas_of(bbox_pred.float(), labels))
        return RegionPredictions(self.unreduced_losses(cls_score, torch.full_like(labels, -1)), scores, bboxes)

    def unreduced_losses(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        """(R,) classification losses; a label of -1 is background."""
        labels = torch.where(labels < 0, self.num_classes, labels)
        weights = torch.ones_like(labels, dtype=torch.float)
        losses = self.loss_cls(cls_score.float(), labels, weights, reduction_override='none')
        if isinstance(losses, dict):
            name = type(self.loss_cls).__name__
            raise InvalidValueError(f'this needs one loss for each region, {name} has {list(losses)}', 'loss_cls')
        assert isinstance(losses, Tensor)
        return losses

    # ------------------------------------------------------------------ prediction

    def probabilities(self, cls_score: Tensor | None) -> Tensor:
        """Class scores (R, C + 1) -> probabilities, background last.

        Raises:
            InvalidValueError: without scores, because of `with_cls=False`.
        """
        if cls_score is None:
            raise InvalidValueError('a box head with with_cls=False has no scores to predict by', key='with_cls')
        if isinstance(self.loss_cls, ScoringLoss):
            return self.loss_cls.get_activation(cls_score)
        return cls_score.float().softmax(dim=-1)

    def decode(self, rois: Tensor, bbox_pred: Tensor | None, meta: ImageMeta) -> Tensor:
        """(R, 5) regions of one image -> their boxes (R, 4 or 4C), in pixels of the network's input."""
        if bbox_pred is not None:
            bboxes: Tensor = self.bbox_coder.decode(rois[:, 1:], bbox_pred.float(), max_shape=meta.img_shape)
            return bboxes
        height, width = meta.img_shape[:2]
        return torch.minimum(rois[:, 1:].clamp(min=0), rois.new_tensor([width, height, width, height]))

    def predict(
        self,
        rois: Tensor,
        scores: Tensor,
        bbox_pred: Tensor | None,
        meta: ImageMeta,
        cfg: NMSSettings,
        rescale: bool = True,
    ) -> Instances:
        """Detections of one image from the (R, C + 1) probabilities of its regions."""
        bboxes = self.decode(rois, bbox_pred, meta)
        if rescale and len(bboxes):
            bboxes = (bboxes.view(len(bboxes), -1, 4) / bboxes.new_tensor(meta.scale_factor)).flatten(1)
        quality = self.box_quality(bbox_pred)
        return multiclass_nms(bboxes, scores, cfg.score_thr, cfg.nms, cfg.max_per_img, score_factors=quality)

    def box_quality(self, bbox_pred: Tensor | None) -> Tensor | None:
        """(R,) factors on the scores that pass the threshold; None leaves them."""
        return None

    @torch.no_grad()
    def regress_by_class(self, bboxes: Tensor, labels: Tensor, bbox_pred: Tensor, meta: ImageMeta) -> Tensor:
        """(R, 4) `bboxes` moved by the deltas of their (R,) `labels`: the input of a cascade's next stage."""
        deltas = self.deltas_of(bbox_pred.float(), labels)
        moved: Tensor = self.bbox_coder.decode(bboxes, deltas, max_shape=meta.img_shape)
        return moved


# The box heads of FPN (arXiv:1612.03144) and of Group Normalization (arXiv:1803.08494).
HEADS.register_module('Shared2FCBBoxHead', module=BBoxHead, defaults=dict(num_shared_fcs=2))
HEADS.register_module('Shared4Conv1FCBBoxHead', module=BBoxHead, defaults=dict(num_shared_convs=4, num_shared_fcs=1))
