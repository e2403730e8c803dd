"""Hybrid task cascade, arXiv:1901.07518."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmkit.bbox import SamplingResult
from mmkit.models.roi_heads.cascade_roi_head import CascadeRoIHead
from mmkit.registry import HEADS, ROI_EXTRACTORS, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances


@HEADS.register_module()
class HybridTaskCascadeRoIHead(CascadeRoIHead):
    """A cascade whose mask heads hand features on, and whose regions also see a semantic segmentation.

    The semantic features travel as the last entry of `feats`, behind the levels that the other extractors read.

    Args:
        semantic_roi_extractor, semantic_head: both or none.
        semantic_fusion: which branches ('bbox', 'mask') add the semantic features to theirs.
        interleaved: a stage's mask head is trained on the boxes after the stage, not before it.
        mask_info_flow: a mask head also reads the features of the one before.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: Mapping[str, Any] | None = None,
        semantic_head: Mapping[str, Any] | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        interleaved: bool = True,
        mask_info_flow: bool = True,
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
        super().__init__(
            num_stages=num_stages,
            stage_loss_weights=stage_loss_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
            shared_head=shared_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            pretrained=pretrained,
            init_cfg=init_cfg,
        )
        if mask_head is None:
            raise ValueError(f'{type(self).__name__} needs a mask_head; without one it is a CascadeRoIHead')
        if (semantic_head is None) != (semantic_roi_extractor is None):
            raise ValueError('semantic_head and semantic_roi_extractor go together')
        unknown = set(semantic_fusion) - {'bbox', 'mask'}
        if unknown:
            raise ValueError(f"semantic_fusion knows 'bbox' and 'mask', got {sorted(unknown)}")
        if semantic_head is not None:
            self.semantic_head = build_from_cfg(semantic_head, HEADS)
            self.semantic_roi_extractor = build_from_cfg(semantic_roi_extractor, ROI_EXTRACTORS)
        self.semantic_fusion = tuple(semantic_fusion)
        self.interleaved = interleaved
        self.mask_info_flow = mask_info_flow

    @property
    def with_semantic(self) -> bool:
        return hasattr(self, 'semantic_head')

    def _fuse(self, branch: str, pooled: Tensor, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        if not self.with_semantic or branch not in self.semantic_fusion:
            return pooled
        semantic = self.semantic_roi_extractor([feats[-1]], rois)
        if semantic.shape[-2:] != pooled.shape[-2:]:
            semantic = functional.adaptive_avg_pool2d(semantic, pooled.shape[-2:])
        return pooled + semantic

    def _box_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        return self._fuse('bbox', super()._box_feats(stage, feats, rois), feats, rois)

    def _mask_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        return self._fuse('mask', super()._mask_feats(stage, feats, rois), feats, rois)

    def _train_mask_logits(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        pooled, flow = self._mask_feats(stage, feats, rois), None
        if self.mask_info_flow:
            for head in self.mask_head[:stage]:
                flow = head.hidden(pooled, flow)
        head = self.mask_head[stage]
        return head.logits(head.hidden(pooled, flow))

    def _test_mask_logits(self, feats: Sequence[Tensor], rois: Tensor) -> list[Tensor]:
        pooled, flow, found = self._mask_feats(self.num_stages - 1, feats, rois), None, []
        for head in self.mask_head:
            hidden = head.hidden(pooled, flow)
            found.append(head.logits(hidden))
            flow = hidden if self.mask_info_flow else None
        return found

    def _mask_samples(
        self, stage: int, feats: Sequence[Tensor], samples: list[SamplingResult], refined: list[Instances], batch: Batch
    ) -> list[SamplingResult]:
        return self._sample(stage, feats, refined, batch) if self.interleaved else samples

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        if self.with_semantic:
            if batch.gt_semantic_seg is None:
                raise ValueError('a semantic_head needs gt_semantic_seg: LoadAnnotations(with_seg=True) and Collect it')
            logits, semantic = self.semantic_head(feats)
            losses['loss_semantic_seg'] = self.semantic_head.loss(logits, batch.gt_semantic_seg)
            feats = (*feats, semantic)
        losses.update(super().loss(feats, proposals, batch))
        return losses

    @torch.no_grad()
    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[Instances],
        metas: Sequence[ImageMeta],
        rescale: bool = True,
    ) -> list[Instances]:
        if self.with_semantic:
            feats = (*feats, self.semantic_head(feats)[1])
        return super().predict(feats, proposals, metas, rescale)
