"""Base of heads that classify anchors and regress boxes from them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox.samplers import PseudoSampler
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead, OutsT
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, probabilities
from mmkit.models.dense_heads.training_settings import DenseTraining
from mmkit.models.losses import is_dense, uses_sigmoid
from mmkit.models.settings import required
from mmkit.protocols import BoxCoder, PriorGenerator
from mmkit.registry import BBOX_CODERS, LOSSES, PRIOR_GENERATORS, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo


class AnchorHeadArgs(TypedDict, total=False):
    """Arguments that all heads with anchors share; see `BaseAnchorHead`."""

    feat_channels: int
    anchor_generator: Cfg
    bbox_coder: Cfg
    reg_decoded_bbox: bool
    loss_cls: Cfg
    loss_bbox: Cfg
    train_cfg: Cfg | None
    test_cfg: Cfg | None
    init_cfg: InitCfg


@dataclass(frozen=True)
class AnchorTraining(DenseTraining):
    """`train_cfg` of a head with anchors.

    Attributes:
        allowed_border: anchors that stick out of the image by this many pixels or more are left out; -1: none are.
        pos_weight: weight of positive anchors in the classification loss; up to 0: 1.

    Others as in `DenseTraining`.
    """

    allowed_border: float = -1
    pos_weight: float = -1


class AnchorTargets(NamedTuple):
    """Training targets of the N anchors of all levels, for B images. Background has the label `num_classes`."""

    labels: Tensor  # (B, N) int64
    label_weights: Tensor  # (B, N)
    bbox_targets: Tensor  # (B, N, 4), zeros where there is no object
    objects: Tensor  # (B, N) int64, of positives the number of the object among those of the batch
    num_pos: int  # at least 1 per image
    num_neg: int  # at least 1 per image

    @classmethod
    def stack(cls, images: Sequence[AnchorTargets]) -> AnchorTargets:
        """Of a batch, from those of its images, which have no dimension B."""
        labels, label_weights, bbox_targets, of_images, num_pos, num_neg = zip(*images, strict=True)
        objects = torch.stack(of_images)
        first = torch.arange(len(images), device=objects.device) * (objects.max() + 1)
        return cls(
            torch.stack(labels),
            torch.stack(label_weights),
            torch.stack(bbox_targets),
            objects + first[:, None],
            sum(num_pos),
            sum(num_neg),
        )


def matched_targets(
    priors: Tensor, pos: Tensor, neg: Tensor, gts: Instances, gt_inds: Tensor, num_classes: int, pos_weight: float
) -> AnchorTargets:
    """Targets of the N priors of one image, without the dimension B; those of boxes are the objects themselves.

    Args:
        priors: (N, ...).
        pos, neg: (P,) and (Q,) int64, priors that are positive and negative. The weight of the others is 0.
        gts: the objects; without labels all are of class 0.
        gt_inds: (P,) int64, the object of each positive.
        num_classes: label of the background.
        pos_weight: of positives; up to 0: 1.
    """
    labels = torch.full((len(priors),), num_classes, dtype=torch.long, device=priors.device)
    labels[pos] = 0 if gts.labels is None else gts.labels[gt_inds]
    label_weights = priors.new_zeros(len(priors))
    label_weights[pos] = pos_weight if pos_weight > 0 else 1.0
    label_weights[neg] = 1.0
    bbox_targets = priors.new_zeros(len(priors), 4)
    bbox_targets[pos] = gts.bboxes[gt_inds]
    objects = torch.full_like(labels, -1)
    objects[pos] = gt_inds
    return AnchorTargets(labels, label_weights, bbox_targets, objects, max(len(pos), 1), max(len(neg), 1))


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
        known_info: fields of `PriorInfo` that the head fills in for its assigner.
        takes_sampler: whether `train_cfg` may have a sampler; otherwise the loss needs all anchors.
        training_settings: the dataclass of `train_cfg`.
    """

    defaults: ClassVar[AnchorHeadArgs] = {}
    known_info: ClassVar[Collection[str]] = ('num_level_bboxes',)
    takes_sampler: ClassVar[bool] = True
    training_settings: ClassVar[type[AnchorTraining]] = AnchorTraining

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        feat_channels: int = 256,
        anchor_generator: Cfg = dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder: Cfg = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(type='Normal', layer='Conv2d', std=0.01),
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

    def _read_train_cfg(self, cfg: Cfg) -> AnchorTraining:
        head = type(self).__name__
        settings = self.training_settings.from_cfg(cfg, head, known=self.known_info, takes_sampler=self.takes_sampler)
        if is_dense(self.loss_cls) and not settings.sampler.takes_all:
            loss = type(self.loss_cls).__name__
            warnings.warn(f'{head}: {loss} sees all priors, the sampler in train_cfg has no effect', stacklevel=3)
            settings = replace(settings, sampler=PseudoSampler())
        return settings

    @abstractmethod
    def _init_layers(self) -> None:
        """Create the layers; everything else has been built."""

    def anchors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W*A, 4) float32 anchors of each level of `outputs`."""
        return self.prior_generator.grid_priors(featmap_sizes(outputs), torch.float32, outputs[0].device)

    # ------------------------------------------------------------------ training

    @torch.no_grad()
    def targets(
        self,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        batch: Batch,
        settings: AnchorTraining | None = None,
    ) -> AnchorTargets:
        """Targets of the (N, 4) `anchors` on levels of `sizes` for every image; by default with `train_cfg`."""
        assert batch.gts is not None
        settings = required(settings or self.train_cfg, 'train_cfg', self)
        images = zip(batch.gts, batch.ignored_regions, batch.metas, strict=True)
        return AnchorTargets.stack(
            [self._image_targets(anchors, sizes, gts, ignored, meta, settings) for gts, ignored, meta in images]
        )

    def _image_targets(
        self,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        gts: Instances,
        ignored: Tensor | None,
        meta: ImageMeta,
        settings: AnchorTraining,
    ) -> AnchorTargets:
        """Targets of one image, without the dimension B."""
        inside = self.inside(anchors, sizes, meta, settings)
        return self._assigned_targets(anchors, inside, gts, ignored, settings)

    def inside(
        self, anchors: Tensor, sizes: Sequence[tuple[int, int]], meta: ImageMeta, settings: AnchorTraining
    ) -> tuple[Tensor, ...]:
        """(N_l,) bool of each level of `sizes`: the anchors (N, 4) that do not stick out of the image too far."""
        valid = self.prior_generator.valid_flags(sizes, meta.pad_shape, anchors.device)
        inside = inside_image(anchors, torch.cat(valid), meta.img_shape, settings.allowed_border)  # (N,)
        return torch.split(inside, [len(level) for level in valid])

    def _assigned_targets(
        self,
        anchors: Tensor,
        inside: Sequence[Tensor],
        gts: Instances,
        ignored: Tensor | None,
        settings: AnchorTraining,
        approxs: Tensor | None = None,
    ) -> AnchorTargets:
        """Targets of one image, whose objects are assigned to the `anchors` (N, 4) that are `inside`, (N_l,) bool.

        `approxs` (N, A, 4) stand for the anchors where the assigner needs them.
        """
        inds = torch.cat(list(inside)).nonzero().squeeze(1)
        candidates = anchors[inds]
        info = PriorInfo(approxs=None if approxs is None else approxs[inds])
        if 'num_level_bboxes' in settings.assigner.needs:
            info = replace(info, num_level_bboxes=[int(level.sum()) for level in inside])
        if self.num_classes == 1 and gts.labels is not None:  # class-agnostic
            gts = Instances(bboxes=gts.bboxes, labels=torch.zeros_like(gts.labels))
        assignment = settings.assigner.assign(candidates, gts, ignored, info)
        samples = settings.sampler.sample(assignment, candidates, gts)
        return self._matched_targets(
            anchors, inds[samples.pos_inds], inds[samples.neg_inds], gts, gt_inds=samples.pos_gt_inds, settings=settings
        )

    def _matched_targets(
        self, anchors: Tensor, pos: Tensor, neg: Tensor, gts: Instances, gt_inds: Tensor, settings: AnchorTraining
    ) -> AnchorTargets:
        """`matched_targets`, those of boxes as `positive_boxes` compares with them."""
        targets = matched_targets(
            anchors, pos, neg, gts, gt_inds=gt_inds, num_classes=self.num_classes, pos_weight=settings.pos_weight
        )
        if not self.reg_decoded_bbox and len(pos):
            targets.bbox_targets[pos] = self.bbox_coder.encode(anchors[pos], gts.bboxes[gt_inds])
        return targets

    def avg_factor(self, targets: AnchorTargets) -> int:
        """Divisor of the losses: the positives and, if a sampler chose them, the negatives."""
        sampled = self.train_cfg is not None and not self.train_cfg.sampler.takes_all
        return targets.num_pos + targets.num_neg if sampled else targets.num_pos

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
