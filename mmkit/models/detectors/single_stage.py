"""Detectors with one dense head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.models.detectors.base import Detector
from mmkit.registry import DETECTORS, HEADS, build_from_cfg
from mmkit.structures import Batch, Instances


@DETECTORS.register_module()
class SingleStageDetector(Detector):
    """Backbone, neck, dense head.

    Args:
        bbox_head: config of a dense head, which is given `train_cfg` and `test_cfg`.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        bbox_head: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck, pretrained, init_cfg)
        if bbox_head is None:
            raise ValueError(f'{type(self).__name__} needs a bbox_head')
        self.bbox_head = build_from_cfg(bbox_head, HEADS, dict(train_cfg=train_cfg, test_cfg=test_cfg))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.bbox_head.loss(self.bbox_head(self.extract_feat(batch.imgs)), batch)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.bbox_head.predict(self.bbox_head(self.extract_feat(batch.imgs)), batch.metas, rescale=rescale)


@DETECTORS.register_module()
class RetinaNet(SingleStageDetector):
    """Focal Loss for Dense Object Detection, arXiv:1708.02002."""


@DETECTORS.register_module()
class ATSS(SingleStageDetector):
    """Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive Selection, arXiv:1912.02424."""


@DETECTORS.register_module()
class FCOS(SingleStageDetector):
    """Fully Convolutional One-Stage Object Detection, arXiv:1904.01355."""


@DETECTORS.register_module()
class GFL(SingleStageDetector):
    """Generalized Focal Loss, arXiv:2006.04388."""


@DETECTORS.register_module()
class YOLOV3(SingleStageDetector):
    """YOLOv3: An Incremental Improvement, arXiv:1804.02767."""
