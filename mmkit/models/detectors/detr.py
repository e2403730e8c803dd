"""Detectors with a head of queries, which needs to know where the batch is padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor

from mmkit.models.dense_heads.query.query_head import QueryOuts, padding_mask
from mmkit.models.detectors.single_stage import SingleStageDetector
from mmkit.protocols import NMSSettings
from mmkit.registry import DETECTORS
from mmkit.structures import Batch


@DETECTORS.register_module(['DETR', 'DeformableDETR'])
class DETR(SingleStageDetector):
    """A head of queries on a backbone: DETR (arXiv:2005.12872), Deformable DETR (arXiv:2010.04159)."""

    @property
    def nms_settings(self) -> NMSSettings | None:
        return None

    def _outs(self, batch: Batch) -> QueryOuts:
        head = cast(Callable[[tuple[Tensor, ...], Tensor], QueryOuts], self.bbox_head)
        return head(self.extract_feat(batch.imgs), padding_mask(batch.imgs, batch.metas))
