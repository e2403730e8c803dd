"""Detectors whose head also needs to know what is padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.models.dense_heads.query.query_head import padding_mask
from mmkit.models.detectors.single_stage import SingleStageDetector
from mmkit.registry import DETECTORS
from mmkit.structures import Batch, Instances


@DETECTORS.register_module()
class DETR(SingleStageDetector):
    """End-to-End Object Detection with Transformers, arXiv:2005.12872."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        neck: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck, bbox_head, train_cfg, test_cfg, pretrained, init_cfg)

    def _outs(self, batch: Batch) -> Any:
        return self.bbox_head(self.extract_feat(batch.imgs), padding_mask(batch.imgs, batch.metas))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.bbox_head.loss(self._outs(batch), batch)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.bbox_head.predict(self._outs(batch), batch.metas, rescale=rescale)


@DETECTORS.register_module()
class DeformableDETR(DETR):
    """Deformable DETR, arXiv:2010.04159."""
