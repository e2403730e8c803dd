"""A chain of box heads, each trained on the boxes of the one before: Cascade R-CNN, arXiv:1712.00726."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.layers.init import InitCfg
from mmkit.models.roi_heads.base_roi_head import BaseRoIHead, RegionOutputs
from mmkit.models.roi_heads.region_sampling import positive_labels, sample_regions
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.roi_heads.roi_settings import RoITrainSettings
from mmkit.models.roi_heads.stages import Stages, build_stages, per_stage
from mmkit.models.settings import required
from mmkit.protocols import BBoxHead, MaskHead, RoIExtractor
from mmkit.registry import BBOX_HEADS, HEADS, MASK_HEADS, ROI_EXTRACTORS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances, SamplingResult

Cfgs = Cfg | Sequence[Cfg]


class CascadeRoIHeadArgs(TypedDict, total=False):
    """Arguments of `CascadeRoIHead`, which its variants take besides those of their own."""

    bbox_roi_extractor: Cfgs | None
    bbox_head: Cfgs | None
    mask_roi_extractor: Cfgs | None
    mask_head: Cfgs | None
    shared_head: Cfg | None
    train_cfg: Cfgs | None
    test_cfg: Cfg | None
    pretrained: str | None
    init_cfg: InitCfg


@HEADS.register_module()
class CascadeRoIHead(BaseRoIHead):
    """`num_stages` box heads, each of which refines the boxes of the one before, and perhaps as many mask heads.

    Args:
        stage_loss_weights: factor of each stage's losses.
        bbox_roi_extractor, bbox_head, mask_roi_extractor, mask_head: a config for all stages or one for each; without
            `mask_roi_extractor` the mask heads read what the box heads read.
        shared_head, pretrained: not supported, as in mmdetection.
        train_cfg: one for all stages or one for each, see `RoITrainSettings`.
        test_cfg: see `RoITestSettings`.

    Raises:
        InvalidValueError: without box heads or their extractors, or for lists of another length than `num_stages`.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        *,
        bbox_roi_extractor: Cfgs | None = None,
        bbox_head: Cfgs | None = None,
        mask_roi_extractor: Cfgs | None = None,
        mask_head: Cfgs | None = None,
        shared_head: Cfg | None = None,
        train_cfg: Cfgs | None = None,
        test_cfg: Cfg | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(test_cfg, init_cfg)
        name = type(self).__name__
        if shared_head is not None or pretrained is not None:
            raise InvalidValueError(f'{name} supports neither shared_head nor pretrained, which is for it')
        if bbox_head is None or bbox_roi_extractor is None:
            raise InvalidValueError(f'{name} needs bbox_head and bbox_roi_extractor')
        if len(stage_loss_weights) != num_stages:
            raise InvalidValueError(
                f'{len(stage_loss_weights)} stage_loss_weights for {num_stages} stages', key='stage_loss_weights'
            )
        self.num_stages = num_stages
        self.stage_loss_weights = list(stage_loss_weights)
        self.bbox_roi_extractor: Stages[RoIExtractor] = build_stages(
            bbox_roi_extractor, ROI_EXTRACTORS, num_stages, 'bbox_roi_extractor'
        )
        self.bbox_head: Stages[BBoxHead] = build_stages(bbox_head, BBOX_HEADS, num_stages, 'bbox_head')
        self.mask_head: Stages[MaskHead] | None = None
        self.mask_roi_extractor: Stages[RoIExtractor] | None = None
        if mask_head is not None:
            self.needs = (*self.needs, 'gt_masks')
            self.mask_head = build_stages(mask_head, MASK_HEADS, num_stages, 'mask_head')
            if mask_roi_extractor is not None:
                self.mask_roi_extractor = build_stages(
                    mask_roi_extractor, ROI_EXTRACTORS, num_stages, 'mask_roi_extractor'
                )
        self.train_cfg: list[RoITrainSettings] | None = None
        if train_cfg:
            cfgs = per_stage(train_cfg, num_stages, 'train_cfg.rcnn')
            self.train_cfg = [RoITrainSettings.from_cfg(each) for each in cfgs]

    @property
    def final_bbox_head(self) -> BBoxHead:
        return self.bbox_head[-1]

    @property
    def final_mask_head(self) -> MaskHead | None:
        return None if self.mask_head is None else self.mask_head[-1]

    @property
    def _mask_heads(self) -> Stages[MaskHead]:
        assert self.mask_head is not None
        return self.mask_head

    # Steps that a variant may override.

    def _box_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Features (R, C, h, w) of regions for a stage's box head."""
        extractor = self.bbox_roi_extractor[stage]
        return extractor(feats[: extractor.num_inputs], rois)

    def _mask_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Features (R, C, h, w) of regions for a stage's mask head."""
        extractors = self.bbox_roi_extractor if self.mask_roi_extractor is None else self.mask_roi_extractor
        return extractors[stage](feats[: extractors[stage].num_inputs], rois)

    def _train_mask_logits(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits (R, C or 1, h, w) of one stage's mask head."""
        return self._mask_heads[stage](self._mask_feats(stage, feats, rois))

    def _mask_logits(self, feats: Sequence[Tensor], rois: Tensor) -> list[Tensor]:
        return [self._train_mask_logits(stage, feats, rois) for stage in range(self.num_stages)]

    def _mask_samples(
        self, stage: int, feats: Sequence[Tensor], samples: list[SamplingResult], refined: list[Instances], batch: Batch
    ) -> list[SamplingResult]:
        """The regions that train the mask head of a stage; `refined` are the boxes after the stage."""
        return samples

    # ------------------------------------------------------------------ training

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses of every stage under `s0.`, `s1.`, ..."""
        losses: dict[str, Tensor] = {}
        all_settings = required(self.train_cfg, 'train_cfg.rcnn', self)
        for stage, (weight, settings) in enumerate(zip(self.stage_loss_weights, all_settings, strict=True)):
            samples = self._sample(stage, feats, proposals, batch)
            head = self.bbox_head[stage]
            rois = bboxes_to_rois([each.bboxes for each in samples])
            cls_score, bbox_pred = _both(head(self._box_feats(stage, feats, rois)))
            targets = head.targets(samples, settings.pos_weight)
            stage_losses = head.loss(cls_score, bbox_pred, rois, targets)
            proposals = self._refine_samples(stage, samples, cls_score, bbox_pred, targets.labels, batch)
            if self.mask_head is not None:
                stage_losses.update(self._mask_loss(stage, feats, samples, proposals, batch))
            for name, value in stage_losses.items():
                losses[f's{stage}.{name}'] = value * weight if 'loss' in name else value
        return losses

    def _sample(
        self, stage: int, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch
    ) -> list[SamplingResult]:
        """Sample the proposals for a stage; OHEM ranks them by the losses of its box head."""

        def hard_losses(index: int, bboxes: Tensor, labels: Tensor) -> Tensor:
            image_feats = [feat[index : index + 1] for feat in feats]
            pooled = self._box_feats(stage, image_feats, bboxes_to_rois([bboxes]))
            return self.bbox_head[stage].hard_losses(pooled, labels)

        return sample_regions(required(self.train_cfg, 'train_cfg.rcnn', self)[stage], proposals, batch, hard_losses)

    def _mask_loss(
        self, stage: int, feats: Sequence[Tensor], samples: list[SamplingResult], refined: list[Instances], batch: Batch
    ) -> dict[str, Tensor]:
        assert batch.gts is not None
        head, settings = self._mask_heads[stage], required(self.train_cfg, 'train_cfg.rcnn', self)[stage]
        samples = self._mask_samples(stage, feats, samples, refined, batch)
        targets = head.targets(samples, batch.gts, settings.mask_size, settings.soft_mask_target)
        logits = self._train_mask_logits(stage, feats, bboxes_to_rois([each.pos_bboxes for each in samples]))
        return head.loss(logits, targets, positive_labels(samples))

    @torch.no_grad()
    def _refine_samples(
        self,
        stage: int,
        samples: Sequence[SamplingResult],
        cls_score: Tensor,
        bbox_pred: Tensor,
        labels: Tensor,
        batch: Batch,
    ) -> list[Instances]:
        """Sampled boxes, refined by the stage, without added ground truth: the next stage's sampler adds it again."""
        head = self.bbox_head[stage]
        if len(labels):
            labels = torch.where(labels == head.num_classes, cls_score[:, : head.num_classes].argmax(1), labels)
        counts = [len(each.bboxes) for each in samples]
        refined = []
        parts = zip(samples, torch.split(bbox_pred, counts), torch.split(labels, counts), batch.metas, strict=True)
        for each, deltas, image_labels, meta in parts:
            bboxes = head.regress_by_class(each.bboxes, image_labels, deltas, meta)
            keep = torch.ones(len(bboxes), dtype=torch.bool, device=bboxes.device)
            keep[: len(each.pos_is_gt)] = ~each.pos_is_gt.bool()
            refined.append(Instances(bboxes=bboxes[keep]))
        return refined

    # ------------------------------------------------------------------ prediction

    def _box_outputs(
        self, feats: Sequence[Tensor], rois: Tensor, counts: Sequence[int], metas: Sequence[ImageMeta]
    ) -> RegionOutputs:
        """Boxes of the last stage with the mean of all stages' class scores."""
        sizes, stage_scores = list(counts), []
        for stage, head in enumerate(self.bbox_head):
            cls_score, bbox_pred = _both(head(self._box_feats(stage, feats, rois)))
            stage_scores.append(cls_score.float())
            if stage < self.num_stages - 1:
                labels = cls_score[:, : head.num_classes].argmax(1)
                columns = (torch.split(each, sizes) for each in (rois[:, 1:], labels, bbox_pred))
                parts = zip(*columns, metas, strict=True)
                rois = bboxes_to_rois([head.regress_by_class(*part) for part in parts])
        scores = self.final_bbox_head.probabilities(torch.stack(stage_scores).mean(dim=0))
        return RegionOutputs(rois, scores, bbox_pred)


def _both(outputs: tuple[Tensor | None, Tensor | None]) -> tuple[Tensor, Tensor]:
    """Class scores and deltas of a box head; a stage needs both to refine boxes for the next one."""
    cls_score, bbox_pred = outputs
    if cls_score is None or bbox_pred is None:
        raise InvalidValueError('the box heads of a cascade need with_cls=True and with_reg=True', key='bbox_head')
    return cls_score, bbox_pred
