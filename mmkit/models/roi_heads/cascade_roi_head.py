"""A chain of box heads, each trained on the boxes of the one before: Cascade R-CNN, arXiv:1712.00726."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.bbox import SamplingResult
from mmkit.layers import BaseModule
from mmkit.models.roi_heads.region_sampling import sample_regions
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.roi_heads.standard_roi_head import TEST_KEYS, TRAIN_KEYS, input_bboxes
from mmkit.models.settings import warn_unknown_settings
from mmkit.ops import check_nms
from mmkit.registry import BBOX_ASSIGNERS, BBOX_SAMPLERS, HEADS, ROI_EXTRACTORS, Registry, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances


def _per_stage(cfg: Any, num_stages: int, name: str) -> list[Any]:
    """One entry a stage: a single config serves them all."""
    if not isinstance(cfg, (list, tuple)):
        return [cfg] * num_stages
    if len(cfg) != num_stages:
        raise ValueError(f'{name} has {len(cfg)} entries, but num_stages is {num_stages}')
    return list(cfg)


def _build_stages(cfg: Any, registry: Registry, num_stages: int, name: str) -> nn.ModuleList:
    return nn.ModuleList(build_from_cfg(each, registry) for each in _per_stage(cfg, num_stages, name))


@HEADS.register_module()
class CascadeRoIHead(BaseModule):
    """`num_stages` box heads in a row, and perhaps as many mask heads.

    Args:
        stage_loss_weights: factor of each stage's losses.
        bbox_roi_extractor, bbox_head, mask_roi_extractor, mask_head: a config for all stages or one for each.
        shared_head: not supported, as in the original.
        train_cfg: one for all stages or one for each, see `StandardRoIHead`.
        test_cfg: `score_thr`, `nms`, `max_per_img`, `mask_thr_binary`.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: Any = None,
        bbox_head: Any = None,
        mask_roi_extractor: Any = None,
        mask_head: Any = None,
        shared_head: Mapping[str, Any] | None = None,
        train_cfg: Any = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if shared_head is not None or pretrained is not None:
            raise ValueError(f'{type(self).__name__} does not support shared_head, nor pretrained, which is for it')
        if bbox_head is None or bbox_roi_extractor is None:
            raise ValueError(f'{type(self).__name__} needs bbox_head and bbox_roi_extractor')
        if len(stage_loss_weights) != num_stages:
            raise ValueError(f'{len(stage_loss_weights)} stage_loss_weights for {num_stages} stages')
        self.num_stages = num_stages
        self.stage_loss_weights = list(stage_loss_weights)
        self.test_cfg = test_cfg
        self.bbox_roi_extractor = _build_stages(bbox_roi_extractor, ROI_EXTRACTORS, num_stages, 'bbox_roi_extractor')
        self.bbox_head = _build_stages(bbox_head, HEADS, num_stages, 'bbox_head')
        if mask_head is not None:
            self.mask_head = _build_stages(mask_head, HEADS, num_stages, 'mask_head')
            if mask_roi_extractor is not None:
                extractors = _build_stages(mask_roi_extractor, ROI_EXTRACTORS, num_stages, 'mask_roi_extractor')
                self.mask_roi_extractor = extractors
        warn_unknown_settings(test_cfg or {}, TEST_KEYS, 'test_cfg.rcnn')
        check_nms((test_cfg or {}).get('nms'))
        if train_cfg:
            self.train_cfg = _per_stage(train_cfg, num_stages, 'train_cfg.rcnn')
            for each in self.train_cfg:
                warn_unknown_settings(each, TRAIN_KEYS, 'train_cfg.rcnn')
            self.assigners = [build_from_cfg(each['assigner'], BBOX_ASSIGNERS) for each in self.train_cfg]
            self.samplers = [build_from_cfg(each['sampler'], BBOX_SAMPLERS) for each in self.train_cfg]

    @property
    def with_mask(self) -> bool:
        return hasattr(self, 'mask_head')

    # Steps that a variant may override.

    def _box_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        extractor = self.bbox_roi_extractor[stage]
        return extractor(feats[: extractor.num_inputs], rois)

    def _mask_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        extractor = getattr(self, 'mask_roi_extractor', self.bbox_roi_extractor)[stage]
        return extractor(feats[: extractor.num_inputs], rois)

    def _train_mask_logits(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        return self.mask_head[stage](self._mask_feats(stage, feats, rois))

    def _test_mask_logits(self, feats: Sequence[Tensor], rois: Tensor) -> list[Tensor]:
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
        for stage, weight in enumerate(self.stage_loss_weights):
            samples = self._sample(stage, feats, proposals, batch)
            head = self.bbox_head[stage]
            rois = bboxes_to_rois([each.bboxes for each in samples])
            cls_score, bbox_pred = head(self._box_feats(stage, feats, rois))
            targets = head.targets(samples, self.train_cfg[stage].get('pos_weight', -1))
            stage_losses = head.loss(cls_score, bbox_pred, rois, targets)
            proposals = self._refine_samples(stage, samples, cls_score, bbox_pred, targets.labels, batch)
            if self.with_mask:
                stage_losses.update(self._mask_loss(stage, feats, samples, proposals, batch))
            for name, value in stage_losses.items():
                losses[f's{stage}.{name}'] = value * weight if 'loss' in name else value
        return losses

    def _sample(
        self, stage: int, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch
    ) -> list[SamplingResult]:
        """Draw among the proposals by the rules of a stage, whose box head tells OHEM what is hard."""

        def hard_losses(index: int, bboxes: Tensor, labels: Tensor) -> Tensor:
            image_feats = [feat[index : index + 1] for feat in feats]
            return self.bbox_head[stage].hard_losses(
                self._box_feats(stage, image_feats, bboxes_to_rois([bboxes])), labels
            )

        return sample_regions(self.assigners[stage], self.samplers[stage], proposals, batch, hard_losses)

    def _mask_loss(
        self,
        stage: int,
        feats: Sequence[Tensor],
        samples: list[SamplingResult],
        refined: list[Instances],
        batch: Batch,
    ) -> dict[str, Tensor]:
        samples = self._mask_samples(stage, feats, samples, refined, batch)
        assert batch.gts is not None
        cfg = self.train_cfg[stage]
        targets = self.mask_head[stage].targets(
            samples, batch.gts, cfg.get('mask_size', 28), cfg.get('soft_mask_target', False)
        )
        logits = self._train_mask_logits(stage, feats, bboxes_to_rois([each.pos_bboxes for each in samples]))
        return self.mask_head[stage].loss(logits, targets, torch.cat([each.pos_gt_labels for each in samples]))

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
        """Sampled boxes moved by the stage, without those that were ground truth: they come in again when sampling."""
        head = self.bbox_head[stage]
        if len(labels):
            labels = torch.where(labels == head.num_classes, cls_score[:, : head.num_classes].argmax(1), labels)
        counts = [len(each.bboxes) for each in samples]
        refined = []
        for each, deltas, image_labels, meta in zip(
            samples, bbox_pred.split(counts), labels.split(counts), batch.metas, strict=True
        ):
            bboxes = head.regress_by_class(each.bboxes, image_labels, deltas, meta)
            keep = torch.ones(len(bboxes), dtype=torch.bool, device=bboxes.device)
            keep[: len(each.pos_is_gt)] = ~each.pos_is_gt.bool()
            refined.append(Instances(bboxes=bboxes[keep]))
        return refined

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[Instances],
        metas: Sequence[ImageMeta],
        rescale: bool = True,
    ) -> list[Instances]:
        """Boxes of the last stage with the mean of all stages' class scores."""
        if self.test_cfg is None:
            raise ValueError('predicting needs test_cfg.rcnn, and this model was built without it')
        counts = [len(each) for each in proposals]
        rois = bboxes_to_rois([each.bboxes for each in proposals])
        stage_scores = []
        for stage, head in enumerate(self.bbox_head):
            cls_score, bbox_pred = head(self._box_feats(stage, feats, rois))
            stage_scores.append(cls_score.float())
            if stage < self.num_stages - 1:
                labels = cls_score[:, : head.num_classes].argmax(1)
                parts = zip(rois.split(counts), labels.split(counts), bbox_pred.split(counts), metas, strict=True)
                rois = bboxes_to_rois([head.regress_by_class(r[:, 1:], *rest) for r, *rest in parts])
        head = self.bbox_head[-1]
        scores = head.probabilities(torch.stack(stage_scores).mean(dim=0))
        found = [
            head.predict(*parts, self.test_cfg, rescale)
            for parts in zip(rois.split(counts), scores.split(counts), bbox_pred.split(counts), metas, strict=True)
        ]
        return self._add_masks(feats, found, metas, rescale) if self.with_mask else found

    def _add_masks(
        self, feats: Sequence[Tensor], found: Sequence[Instances], metas: Sequence[ImageMeta], rescale: bool
    ) -> list[Instances]:
        rois = bboxes_to_rois([input_bboxes(each, meta, rescale) for each, meta in zip(found, metas, strict=True)])
        counts = [len(each) for each in found]
        stages = [logits.split(counts) for logits in self._test_mask_logits(feats, rois)]
        head = self.mask_head[-1]
        return [
            replace(
                each,
                masks=head.predict(
                    [stage[i] for stage in stages], each.bboxes, each.labels, metas[i], self.test_cfg, rescale
                ),
            )
            for i, each in enumerate(found)
        ]
