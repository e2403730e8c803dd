"""The second stage of Faster R-CNN and Mask R-CNN: one box branch, one mask branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmkit.bbox import SamplingResult
from mmkit.layers import BaseModule
from mmkit.models.roi_heads.region_sampling import sample_regions
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.settings import warn_unknown_settings
from mmkit.ops import check_nms
from mmkit.registry import BBOX_ASSIGNERS, BBOX_SAMPLERS, HEADS, ROI_EXTRACTORS, SHARED_HEADS, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances

TRAIN_KEYS = ('assigner', 'sampler', 'pos_weight', 'mask_size', 'soft_mask_target')
TEST_KEYS = ('score_thr', 'nms', 'max_per_img', 'mask_thr_binary')


@HEADS.register_module()
class StandardRoIHead(BaseModule):
    """Reads region features and classifies, refines and (with a mask head) segments each region.

    Args:
        shared_head: layers run on every region before both branches (the C4 models).
        mask_roi_extractor: without one, the mask branch reads the box branch's features.
        train_cfg: `assigner`, `sampler`, `pos_weight`, `mask_size`, `soft_mask_target` (cells that are partly covered).
        test_cfg: `score_thr`, `nms`, `max_per_img`, `mask_thr_binary`.
    """

    def __init__(
        self,
        bbox_roi_extractor: Mapping[str, Any] | None = None,
        bbox_head: Mapping[str, Any] | None = None,
        mask_roi_extractor: Mapping[str, Any] | None = None,
        mask_head: Mapping[str, Any] | None = None,
        shared_head: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if bbox_head is None or bbox_roi_extractor is None:
            raise ValueError(f'{type(self).__name__} needs bbox_head and bbox_roi_extractor')
        self.test_cfg = test_cfg
        self.bbox_roi_extractor = build_from_cfg(bbox_roi_extractor, ROI_EXTRACTORS)
        self.bbox_head = build_from_cfg(bbox_head, HEADS)
        if shared_head is not None:
            extra = dict(pretrained=pretrained) if pretrained else None
            self.shared_head = build_from_cfg(shared_head, SHARED_HEADS, extra)
        elif pretrained:
            raise ValueError('pretrained of a RoI head is for its shared_head, and there is none')
        if mask_head is not None:
            self.mask_head = build_from_cfg(mask_head, HEADS)
            if mask_roi_extractor is not None:
                self.mask_roi_extractor = build_from_cfg(mask_roi_extractor, ROI_EXTRACTORS)
        warn_unknown_settings(test_cfg or {}, TEST_KEYS, 'test_cfg.rcnn')
        check_nms((test_cfg or {}).get('nms'))
        if train_cfg:
            warn_unknown_settings(train_cfg, TRAIN_KEYS, 'train_cfg.rcnn')
            self.assigner = build_from_cfg(train_cfg['assigner'], BBOX_ASSIGNERS)
            self.sampler = build_from_cfg(train_cfg['sampler'], BBOX_SAMPLERS)
            self.pos_weight = train_cfg.get('pos_weight', -1)
            self.mask_size = train_cfg.get('mask_size', 28)
            self.soft_mask_target = train_cfg.get('soft_mask_target', False)

    @property
    def with_mask(self) -> bool:
        return hasattr(self, 'mask_head')

    def _pool(self, extractor: Any, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        pooled = extractor(feats[: extractor.num_inputs], rois)
        return self.shared_head(pooled) if hasattr(self, 'shared_head') else pooled

    # ------------------------------------------------------------------ training

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses of the branches; `proposals` are in pixels of the network's input."""
        samples = self.sample(feats, proposals, batch)
        rois = bboxes_to_rois([each.bboxes for each in samples])
        region_feats = self._pool(self.bbox_roi_extractor, feats, rois)
        cls_score, bbox_pred = self.bbox_head(region_feats)
        losses = self.bbox_head.loss(cls_score, bbox_pred, rois, self.bbox_head.targets(samples, self.pos_weight))
        if self.with_mask:
            losses.update(self._mask_loss(feats, region_feats, samples, batch))
        return losses

    def sample(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> list[SamplingResult]:
        def hard_losses(index: int, bboxes: Tensor, labels: Tensor) -> Tensor:
            image_feats = [feat[index : index + 1] for feat in feats]
            return self.bbox_head.hard_losses(
                self._pool(self.bbox_roi_extractor, image_feats, bboxes_to_rois([bboxes])), labels
            )

        return sample_regions(self.assigner, self.sampler, proposals, batch, hard_losses)

    def _mask_loss(
        self, feats: Sequence[Tensor], region_feats: Tensor, samples: Sequence[SamplingResult], batch: Batch
    ) -> dict[str, Tensor]:
        assert batch.gts is not None
        if hasattr(self, 'mask_roi_extractor'):
            pooled = self._pool(self.mask_roi_extractor, feats, bboxes_to_rois([each.pos_bboxes for each in samples]))
        else:
            flags = [torch.arange(len(each.bboxes)) < len(each.pos_inds) for each in samples]
            pooled = region_feats[torch.cat(flags).to(region_feats.device)]
        targets = self.mask_head.targets(samples, batch.gts, self.mask_size, self.soft_mask_target)
        labels = torch.cat([each.pos_gt_labels for each in samples])
        return self.mask_head.loss(self.mask_head(pooled), targets, labels)

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[Instances],
        metas: Sequence[ImageMeta],
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        if self.test_cfg is None:
            raise ValueError('predicting needs test_cfg.rcnn, and this model was built without it')
        rois = bboxes_to_rois([each.bboxes for each in proposals])
        cls_score, bbox_pred = self.bbox_head(self._pool(self.bbox_roi_extractor, feats, rois))
        scores = self.bbox_head.probabilities(cls_score)
        counts = [len(each) for each in proposals]
        deltas = bbox_pred.split(counts) if bbox_pred is not None else [None] * len(counts)
        found = [
            self.bbox_head.predict(*parts, self.test_cfg, rescale)
            for parts in zip(rois.split(counts), scores.split(counts), deltas, metas, strict=True)
        ]
        return self._add_masks(feats, found, metas, rescale) if self.with_mask else found

    def _add_masks(
        self, feats: Sequence[Tensor], found: Sequence[Instances], metas: Sequence[ImageMeta], rescale: bool
    ) -> list[Instances]:
        extractor = getattr(self, 'mask_roi_extractor', self.bbox_roi_extractor)
        rois = bboxes_to_rois([input_bboxes(each, meta, rescale) for each, meta in zip(found, metas, strict=True)])
        logits = self.mask_head(self._pool(extractor, feats, rois)).split([len(each) for each in found])
        assert self.test_cfg is not None
        return [
            replace(
                each,
                masks=self.mask_head.predict(image_logits, each.bboxes, each.labels, meta, self.test_cfg, rescale),
            )
            for each, image_logits, meta in zip(found, logits, metas, strict=True)
        ]


def input_bboxes(found: Instances, meta: ImageMeta, rescaled: bool) -> Tensor:
    """(N, 4) boxes of detections in pixels of the network's input."""
    return found.bboxes * found.bboxes.new_tensor(meta.scale_factor) if rescaled else found.bboxes
