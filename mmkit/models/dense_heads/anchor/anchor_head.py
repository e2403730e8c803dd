"""Heads that classify anchors and regress boxes from them: the base of RPN, RetinaNet, SSD, ATSS and GFL."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox.samplers import PseudoSampler
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead, OutsT
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, probabilities
from mmkit.models.dense_heads.training_settings import build_assigner, build_sampler, refuse_sampler
from mmkit.models.losses import is_dense, loss_by_level, uses_sigmoid
from mmkit.models.settings import known_settings
from mmkit.protocols import Assigner, BoxCoder, BoxSampler, PriorGenerator
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, PRIOR_GENERATORS, build_from_cfg, located
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo


class AnchorHeadArgs(TypedDict, total=False):
    """Arguments that every head with anchors takes besides those of its own; see `BaseAnchorHead`."""

    feat_channels: int
    anchor_generator: Mapping[str, Any]
    bbox_coder: Mapping[str, Any]
    reg_decoded_bbox: bool
    loss_cls: Mapping[str, Any]
    loss_bbox: Mapping[str, Any]
    train_cfg: Mapping[str, Any] | None
    test_cfg: Mapping[str, Any] | None
    init_cfg: InitCfg


class AnchorOuts(NamedTuple):
    """Raw predictions of each level: scores (B, A*C, H, W) and box deltas (B, A*4, H, W)."""

    cls_scores: list[Tensor]
    bbox_preds: list[Tensor]


@dataclass(frozen=True)
class AnchorTraining:
    """`train_cfg` of a head with anchors.

    Attributes:
        assigner: matches anchors with objects.
        sampler: chooses the anchors that the loss sees; by default all.
        allowed_border: anchors that stick out of the image by this many pixels or more take no part; -1: all take part.
        pos_weight: weight of positive anchors in the classification loss; up to 0: 1.
    """

    assigner: Assigner
    sampler: BoxSampler = field(default_factory=PseudoSampler)
    allowed_border: float = -1
    pos_weight: float = -1


@dataclass
class AnchorTargets:
    """Training targets of the N anchors of all levels, for B images. Background has the label `num_classes`."""

    labels: Tensor  # (B, N) int64
    label_weights: Tensor  # (B, N)
    bbox_targets: Tensor  # (B, N, 4), zeros where there is no object
    num_pos: int  # at least 1 per image
    num_neg: int  # at least 1 per image


def inside_image(anchors: Tensor, valid: Tensor, img_shape: tuple[int, int], allowed_border: float) -> Tensor:
    """(N,) bool: `valid` anchors that stick out of the image by less than `allowed_border` pixels (-1: by any)."""
    if allowed_border < 0:
        return valid
    height, width = img_shape[:2]
    low = (anchors[:, :2] >= -allowed_border).all(dim=1)
    high = (anchors[:, 2:] < anchors.new_tensor([width + allowed_border, height + allowed_border])).all(dim=1)
    return valid & low & high


class BaseAnchorHead(BaseDenseHead[OutsT], BaseModule):
    """Base of heads with anchors: their construction, their targets, their decoding.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level, or of each.
        feat_channels: channels of hidden layers.
        anchor_generator, bbox_coder, loss_cls, loss_bbox: configs or built objects.
        reg_decoded_bbox: the box loss compares decoded boxes (for IoU losses) instead of deltas.
        train_cfg: see `training_settings`.
        test_cfg: see `PostProcessing`.
        init_cfg: initialisation of the weights.

    Attributes:
        defaults: values of the arguments above for which a variant has others than this class.
        takes_sampler: whether `train_cfg` may have a sampler; otherwise the loss needs all anchors.
        training_settings: the dataclass of `train_cfg`.
    """

    defaults: ClassVar[AnchorHeadArgs] = {}
    takes_sampler: ClassVar[bool] = True
    training_settings: ClassVar[type[AnchorTraining]] = AnchorTraining

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] = dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Normal', layer='Conv2d', std=0.01
        ),
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.feat_channels = feat_channels
        self.reg_decoded_bbox = reg_decoded_bbox
        self.bbox_coder: BoxCoder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.use_sigmoid_cls = uses_sigmoid(self.loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.prior_generator: PriorGenerator = build_from_cfg(anchor_generator, PRIOR_GENERATORS)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.train_cfg = self._read_train_cfg(train_cfg) if train_cfg else None
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None
        self._init_layers()

    def _read_train_cfg(self, cfg: Mapping[str, Any]) -> AnchorTraining:
        head = type(self).__name__
        with located(cfg):
            settings = known_settings(cfg, self.training_settings, 'train_cfg')
            if not self.takes_sampler:
                refuse_sampler(settings.pop('sampler', None), head)
            settings['assigner'] = build_assigner(settings['assigner'], head, known=['num_level_bboxes'])
            settings['sampler'] = build_sampler(settings.get('sampler'), head)
        if is_dense(self.loss_cls) and not settings['sampler'].takes_all:
            loss = type(self.loss_cls).__name__
            warnings.warn(f'{head}: {loss} sees all priors, the sampler in train_cfg has no effect', stacklevel=3)
            settings['sampler'] = PseudoSampler()
        return self.training_settings(**settings)

    @abstractmethod
    def _init_layers(self) -> None:
        """Create the layers; everything else has been built."""

    def anchors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W*A, 4) float32 anchors of each level of `outputs`."""
        return self.prior_generator.grid_priors(featmap_sizes(outputs), torch.float32, outputs[0].device)

    # ------------------------------------------------------------------ training

    @torch.no_grad()
    def targets(self, anchors: Tensor, sizes: Sequence[tuple[int, int]], batch: Batch) -> AnchorTargets:
        """Targets of the (N, 4) `anchors` on levels of `sizes` for every image of the batch."""
        assert batch.gts is not None
        shape = (len(batch), len(anchors))
        targets = AnchorTargets(
            labels=torch.full(shape, self.num_classes, dtype=torch.long, device=anchors.device),
            label_weights=anchors.new_zeros(shape),
            bbox_targets=anchors.new_zeros((*shape, 4)),
            num_pos=0,
            num_neg=0,
        )
        for index, (gts, meta) in enumerate(zip(batch.gts, batch.metas, strict=True)):
            ignored = batch.ignored[index] if batch.ignored is not None else None
            self._fill_targets(targets, index, anchors, sizes, meta, gts, ignored)
        return targets

    def _fill_targets(
        self,
        targets: AnchorTargets,
        index: int,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        meta: ImageMeta,
        gts: Instances,
        ignored: Tensor | None,
    ) -> None:
        """Write the targets of image `index` of the batch."""
        if self.train_cfg is None:
            raise InvalidValueError(
                f'training needs a train_cfg, and this {type(self).__name__} was built without one', key='train_cfg'
            )
        settings = self.train_cfg
        valid = self.prior_generator.valid_flags(sizes, meta.pad_shape, anchors.device)  # (N_l,) of each level
        inside = inside_image(anchors, torch.cat(valid), meta.img_shape, settings.allowed_border)  # (N,)
        inside_inds = inside.nonzero().squeeze(1)
        candidates = anchors[inside_inds]
        info = PriorInfo()
        if 'num_level_bboxes' in settings.assigner.needs:
            levels = torch.split(inside, [len(level) for level in valid])
            info = PriorInfo(num_level_bboxes=[int(level.sum()) for level in levels])
        if self.num_classes == 1 and gts.labels is not None:  # class-agnostic
            gts = Instances(bboxes=gts.bboxes, labels=torch.zeros_like(gts.labels))
        assignment = settings.assigner.assign(candidates, gts, ignored, info)
        samples = settings.sampler.sample(assignment, candidates, gts)
        pos, neg = inside_inds[samples.pos_inds], inside_inds[samples.neg_inds]
        targets.labels[index, pos] = samples.pos_gt_labels if samples.pos_gt_labels is not None else 0
        targets.label_weights[index, pos] = settings.pos_weight if settings.pos_weight > 0 else 1.0
        targets.label_weights[index, neg] = 1.0
        if len(pos):
            targets.bbox_targets[index, pos] = (
                samples.pos_gt_bboxes
                if self.reg_decoded_bbox
                else self.bbox_coder.encode(samples.pos_bboxes, samples.pos_gt_bboxes)
            )
        targets.num_pos += max(len(pos), 1)
        targets.num_neg += max(len(neg), 1)

    def positive_boxes(self, deltas: Tensor, anchors: Tensor, positive: Tensor) -> Tensor:
        """(P, 4) predictions that the box loss compares with the targets: deltas, or boxes with `reg_decoded_bbox`.

        Args:
            deltas: (B, N, 4).
            anchors: (N, 4).
            positive: (B, N) bool, True at P of them.
        """
        if not self.reg_decoded_bbox:
            return deltas[positive]
        return self.bbox_coder.decode(anchors.expand_as(deltas)[positive], deltas[positive])

    # ------------------------------------------------------------------ prediction

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from anchors (N, 4) and deltas (N, 4)."""
        return self.bbox_coder.decode(priors, box_preds, img_shape)

    def class_probabilities(self, cls_scores: Sequence[Tensor]) -> list[Tensor]:
        """(B, N_l, C) probabilities of each level."""
        logits = [flatten_level(each.detach().float(), self.cls_out_channels) for each in cls_scores]
        return [probabilities(each, self.use_sigmoid_cls) for each in logits]

    def anchor_predictions(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor], factors: Sequence[Tensor] | None = None
    ) -> list[LevelPredictions]:
        """Predictions of each level, from raw scores and deltas."""
        deltas = [flatten_level(each.detach().float(), 4) for each in bbox_preds]
        level_factors: Sequence[Tensor | None] = factors or [None] * len(deltas)
        levels = zip(self.class_probabilities(cls_scores), deltas, self.anchors(cls_scores), level_factors, strict=True)
        return [LevelPredictions(*level) for level in levels]


# mmdetection has the Ascend kind for another processor; it computes the same.
@HEADS.register_module(['AnchorHead', 'AscendAnchorHead'])
class AnchorHead(BaseAnchorHead[AnchorOuts]):
    """Scores and deltas of every anchor, by one 1x1 convolution each (Faster R-CNN, arXiv:1506.01497).

    Arguments are those of `BaseAnchorHead`.
    """

    in_channels: int

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * 4, 1)

    def forward(self, feats: Sequence[Tensor]) -> AnchorOuts:
        """Features (B, in_channels, H, W) of each level -> scores (B, A*C, H, W) and deltas (B, A*4, H, W)."""
        pairs = [self.forward_single(feat) for feat in feats]
        return AnchorOuts([scores for scores, _ in pairs], [deltas for _, deltas in pairs])

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and deltas of one level."""
        return self.conv_cls(feat), self.conv_reg(feat)

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        cls_scores, bbox_preds = outs
        levels = self.anchors(cls_scores)
        anchors = torch.cat(levels)  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        deltas = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)
        sampled = self.train_cfg is not None and not self.train_cfg.sampler.takes_all
        avg_factor = targets.num_pos + targets.num_neg if sampled else targets.num_pos

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        boxes = self.positive_boxes(deltas, anchors, positive)  # (P, 4)
        level = torch.cat([each.new_full((len(each),), i) for i, each in enumerate(levels)]).expand_as(positive)
        loss_cls = loss_by_level(
            self.loss_cls,
            level.flatten(),
            scores.flatten(0, 1),
            targets.labels.flatten(),
            weight=targets.label_weights.flatten(),
            avg_factor=avg_factor,
        )
        loss_bbox = loss_by_level(
            self.loss_bbox, level[positive], boxes, targets.bbox_targets[positive], avg_factor=avg_factor
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    def level_predictions(self, outs: AnchorOuts) -> list[LevelPredictions]:
        return self.anchor_predictions(*outs)
