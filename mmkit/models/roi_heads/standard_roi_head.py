"""The second stage of Faster R-CNN and Mask R-CNN: one box branch, one mask branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypedDict

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers.init import InitCfg
from mmkit.models.roi_heads.base_roi_head import BaseRoIHead, RegionOutputs
from mmkit.models.roi_heads.region_sampling import positive_labels, sample_regions
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.roi_heads.roi_settings import RoITrainSettings
from mmkit.models.settings import required
from mmkit.protocols import BBoxHead, MaskHead, RoIExtractor, RoITargets
from mmkit.registry import BBOX_HEADS, HEADS, MASK_HEADS, ROI_EXTRACTORS, SHARED_HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances, SamplingResult
from mmkit.structures.assignment import RegionPredictions


class StandardRoIHeadArgs(TypedDict, total=False):
    """Arguments of `StandardRoIHead`, which its variants take besides those of their own."""

    bbox_roi_extractor: Cfg | None
    bbox_head: Cfg | None
    mask_roi_extractor: Cfg | None
    mask_head: Cfg | None
    shared_head: Cfg | None
    train_cfg: Cfg | None
    test_cfg: Cfg | None
    pretrained: str | None
    init_cfg: InitCfg


@HEADS.register_module()
class StandardRoIHead(BaseRoIHead):
    """Classifies each region, refines its box and, with a mask head, segments it (arXiv:1703.06870).

    Args:
        shared_head: layers run on every region before both branches (the C4 models).
        mask_roi_extractor: without one, the mask branch reads the box branch's features.
        train_cfg: see `RoITrainSettings`.
        test_cfg: see `RoITestSettings`.
        pretrained: weights of `shared_head`.

    Attributes:
        train_settings: the dataclass of `train_cfg`.

    Raises:
        InvalidValueError: without `bbox_head` or `bbox_roi_extractor`, or for `pretrained` without `shared_head`.
    """

    train_settings: ClassVar[type[RoITrainSettings]] = RoITrainSettings

    def __init__(
        self,
        *,
        bbox_roi_extractor: Cfg | None = None,
        bbox_head: Cfg | None = None,
        mask_roi_extractor: Cfg | None = None,
        mask_head: Cfg | None = None,
        shared_head: Cfg | None = None,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(test_cfg, init_cfg)
        if bbox_head is None or bbox_roi_extractor is None:
            raise InvalidValueError(f'{type(self).__name__} needs bbox_head and bbox_roi_extractor')
        if pretrained and shared_head is None:
            raise InvalidValueError('pretrained of a RoI head is for its shared_head, and there is none', 'pretrained')
        self.bbox_roi_extractor: RoIExtractor = ROI_EXTRACTORS.build(bbox_roi_extractor)
        self.bbox_head: BBoxHead = BBOX_HEADS.build(bbox_head)
        self.shared_head: nn.Module | None = None
        if shared_head is not None:
            self.shared_head = SHARED_HEADS.build(shared_head, **(dict(pretrained=pretrained) if pretrained else {}))
        self.mask_head: MaskHead | None = None
        self.mask_roi_extractor: RoIExtractor | None = None
        if mask_head is not None:
            self.needs = (*self.needs, 'gt_masks')
            self.mask_head = MASK_HEADS.build(mask_head)
            if mask_roi_extractor is not None:
                self.mask_roi_extractor = ROI_EXTRACTORS.build(mask_roi_extractor)
        self.train_cfg = self.train_settings.from_cfg(train_cfg) if train_cfg else None

    @property
    def final_bbox_head(self) -> BBoxHead:
        return self.bbox_head

    @property
    def final_mask_head(self) -> MaskHead | None:
        return self.mask_head

    def pool(self, extractor: RoIExtractor, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Features of (R, 5) regions, through the shared head if there is one."""
        pooled = extractor(feats[: extractor.num_inputs], rois)
        return pooled if self.shared_head is None else self.shared_head(pooled)

    # ------------------------------------------------------------------ training

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses of both branches; `proposals` are in pixels of the network's input."""
        settings = required(self.train_cfg, 'train_cfg.rcnn', self)
        samples = self.sample(feats, proposals, batch)
        rois = bboxes_to_rois([each.bboxes for each in samples])
        region_feats = self.pool(self.bbox_roi_extractor, feats, rois)
        cls_score, bbox_pred = self.bbox_head(region_feats)
        targets = self.bbox_head.targets(samples, settings.pos_weight)
        losses = self._box_losses(cls_score, bbox_pred, rois, targets, samples)
        if self.mask_head is not None:
            losses.update(self._mask_loss(self.mask_head, feats, region_feats, samples, batch))
        return losses

    def _box_losses(
        self,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        rois: Tensor,
        targets: RoITargets,
        samples: Sequence[SamplingResult],
    ) -> dict[str, Tensor]:
        """Losses of the box branch for (R, 5) `rois`, which are `samples`."""
        return self.bbox_head.loss(cls_score, bbox_pred, rois, targets)

    def sample(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> list[SamplingResult]:
        """The regions of each image that the head is trained on."""

        def pooled(index: int, bboxes: Tensor) -> Tensor:
            image_feats = [feat[index : index + 1] for feat in feats]
            return self.pool(self.bbox_roi_extractor, image_feats, bboxes_to_rois([bboxes]))

        def hard_losses(index: int, bboxes: Tensor, labels: Tensor) -> Tensor:
            return self.bbox_head.hard_losses(pooled(index, bboxes), labels)

        def predict(index: int, bboxes: Tensor) -> RegionPredictions:
            return self.bbox_head.background_predictions(pooled(index, bboxes), bboxes)

        return sample_regions(required(self.train_cfg, 'train_cfg.rcnn', self), proposals, batch, hard_losses, predict)

    def _mask_loss(
        self,
        head: MaskHead,
        feats: Sequence[Tensor],
        region_feats: Tensor,
        samples: Sequence[SamplingResult],
        batch: Batch,
    ) -> dict[str, Tensor]:
        settings = required(self.train_cfg, 'train_cfg.rcnn', self)
        assert batch.gts is not None
        pooled = self._positive_feats(feats, region_feats, samples)
        targets = head.targets(samples, batch.gts, settings.mask_size, settings.soft_mask_target)
        return head.loss(head(pooled), targets, positive_labels(samples))

    def _positive_feats(
        self, feats: Sequence[Tensor], region_feats: Tensor, samples: Sequence[SamplingResult]
    ) -> Tensor:
        """(P, C, h, w) features that the mask branch reads, of the positive regions."""
        if self.mask_roi_extractor is not None:
            return self.pool(self.mask_roi_extractor, feats, bboxes_to_rois([each.pos_bboxes for each in samples]))
        flags = [torch.arange(len(each.bboxes)) < len(each.pos_inds) for each in samples]
        return region_feats[torch.cat(flags).to(region_feats.device)]

    # ------------------------------------------------------------------ prediction

    def _box_outputs(
        self, feats: Sequence[Tensor], rois: Tensor, counts: Sequence[int], metas: Sequence[ImageMeta]
    ) -> RegionOutputs:
        cls_score, bbox_pred = self.bbox_head(self.pool(self.bbox_roi_extractor, feats, rois))
        return RegionOutputs(rois, self.bbox_head.probabilities(cls_score), bbox_pred)

    def _mask_logits(self, feats: Sequence[Tensor], rois: Tensor) -> list[Tensor]:
        assert self.mask_head is not None
        return [self.mask_head(self._mask_feats(feats, rois))]

    def _mask_feats(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """(R, C, h, w) features that the mask branch reads."""
        return self.pool(self.mask_roi_extractor or self.bbox_roi_extractor, feats, rois)
