"""Hybrid task cascade, arXiv:1901.07518."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.models.mask_heads import HTCMaskHead
from mmkit.models.roi_heads.cascade_roi_head import CascadeRoIHead, CascadeRoIHeadArgs
from mmkit.protocols import RoIExtractor, SemanticHead
from mmkit.registry import HEADS, ROI_EXTRACTORS, SEMANTIC_HEADS, Cfg
from mmkit.structures import Batch, Instances, SamplingResult


@HEADS.register_module()
class HybridTaskCascadeRoIHead(CascadeRoIHead):
    """A cascade whose mask heads also read the features of the mask head before, and features of a semantic branch.

    The semantic features travel as the last entry of `feats`, behind the levels that the other extractors read.

    Args:
        semantic_roi_extractor, semantic_head: both or none.
        semantic_fusion: which branches ('bbox', 'mask') add the semantic features to theirs.
        interleaved: a stage's mask head is trained on the boxes after the stage, not before it.
        mask_info_flow: a mask head also reads the hidden features of the one before.
        averages_masks: the mask of a detection is the mean of those of all stages; otherwise that of the last.

    Others as in `CascadeRoIHead`.

    Raises:
        InvalidValueError: without mask heads, for half of a semantic branch, or an unknown branch in `semantic_fusion`.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        *,
        semantic_roi_extractor: Cfg | None = None,
        semantic_head: Cfg | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        interleaved: bool = True,
        mask_info_flow: bool = True,
        averages_masks: bool = True,
        **kwargs: Unpack[CascadeRoIHeadArgs],
    ) -> None:
        super().__init__(num_stages, stage_loss_weights, **kwargs)
        if self.mask_head is None:
            raise InvalidValueError(f'{type(self).__name__} needs a mask_head; without one it is a CascadeRoIHead')
        if len(self._flow_heads()) < num_stages:
            raise InvalidValueError(
                f'mask heads of {type(self).__name__} are HTCMaskHeads, whose hidden features flow', key='mask_head'
            )
        unknown = set(semantic_fusion) - {'bbox', 'mask'}
        if unknown:
            raise InvalidValueError(
                f"semantic_fusion knows 'bbox' and 'mask', got {sorted(unknown)}", 'semantic_fusion'
            )
        if (semantic_head is None) != (semantic_roi_extractor is None):
            raise InvalidValueError('semantic_head and semantic_roi_extractor go together', key='semantic_head')
        self.semantic_head: SemanticHead | None = None
        self.semantic_roi_extractor: RoIExtractor | None = None
        if semantic_head is not None and semantic_roi_extractor is not None:
            self.needs = (*self.needs, 'gt_semantic_seg')
            self.semantic_head = SEMANTIC_HEADS.build(semantic_head)
            self.semantic_roi_extractor = ROI_EXTRACTORS.build(semantic_roi_extractor)
        self.semantic_fusion = tuple(semantic_fusion)
        self.interleaved = interleaved
        self.mask_info_flow = mask_info_flow
        self.averages_masks = averages_masks

    def _flow_heads(self) -> list[HTCMaskHead]:
        return [head for head in self._mask_heads if isinstance(head, HTCMaskHead)]

    def _fuse(self, branch: str, pooled: Tensor, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        if self.semantic_roi_extractor is None or branch not in self.semantic_fusion:
            return pooled
        semantic = self.semantic_roi_extractor([feats[-1]], rois)
        if semantic.shape[-2:] != pooled.shape[-2:]:
            semantic = functional.adaptive_avg_pool2d(semantic, (pooled.shape[-2], pooled.shape[-1]))
        return pooled + semantic

    def _box_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        return self._fuse('bbox', super()._box_feats(stage, feats, rois), feats, rois)

    def _mask_feats(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        return self._fuse('mask', super()._mask_feats(stage, feats, rois), feats, rois)

    def _train_mask_logits(self, stage: int, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        pooled, flow = self._mask_feats(stage, feats, rois), None
        *before, head = self._flow_heads()[: stage + 1]
        if self.mask_info_flow:
            for each in before:
                flow = each.hidden(pooled, flow)
        return head.logits(head.hidden(pooled, flow))

    def _mask_logits(self, feats: Sequence[Tensor], rois: Tensor) -> list[Tensor]:
        """On the features of the last stage for all, so that the hidden features of each are computed once."""
        pooled, flow, stages = self._mask_feats(self.num_stages - 1, feats, rois), None, []
        for head in self._flow_heads():
            hidden = head.hidden(pooled, flow)
            stages.append(head.logits(hidden))
            flow = hidden if self.mask_info_flow else None
        return stages if self.averages_masks else stages[-1:]

    def _mask_samples(
        self, stage: int, feats: Sequence[Tensor], samples: list[SamplingResult], refined: list[Instances], batch: Batch
    ) -> list[SamplingResult]:
        return self._sample(stage, feats, refined, batch) if self.interleaved else samples

    def _context(self, feats: Sequence[Tensor]) -> Sequence[Tensor]:
        return feats if self.semantic_head is None else (*feats, self.semantic_head(feats)[1])

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses of every stage under `s0.`, `s1.`, ..., and `loss_semantic_seg` of the semantic branch."""
        if self.semantic_head is None:
            return super().loss(feats, proposals, batch)
        if batch.gt_semantic_seg is None:
            raise InvalidValueError(
                'a semantic_head needs gt_semantic_seg: LoadAnnotations(with_seg=True) and Collect it'
            )
        logits, semantic = self.semantic_head(feats)
        losses = {'loss_semantic_seg': self.semantic_head.loss(logits, batch.gt_semantic_seg)}
        return {**losses, **super().loss((*feats, semantic), proposals, batch)}
