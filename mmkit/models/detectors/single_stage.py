"""Detectors with one dense head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmkit.layers.init import InitCfg
from mmkit.models.detectors.base import Detector
from mmkit.protocols import DenseHead, NMSSettings
from mmkit.registry import DENSE_HEADS, DETECTORS
from mmkit.structures import Batch, Instances


@DETECTORS.register_module(['SingleStageDetector', 'ATSS', 'FCOS', 'GFL', 'RetinaNet', 'YOLOV3'])
class SingleStageDetector(Detector):
    """Backbone, neck, dense head: ATSS, FCOS, GFL, RetinaNet, YOLOv3, ...; the papers are named by their heads.

    Args:
        bbox_head: config of a dense head, which is given `train_cfg` and `test_cfg`.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        bbox_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(backbone, neck, pretrained, init_cfg)
        self.bbox_head: DenseHead[Any] = DENSE_HEADS.build(bbox_head, train_cfg=train_cfg, test_cfg=test_cfg)

    @property
    def nms_settings(self) -> NMSSettings | None:
        return self.bbox_head.test_cfg

    def _outs(self, batch: Batch) -> Any:
        """The head's outputs, of its own type."""
        return self.bbox_head(self.extract_feat(batch.imgs))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.bbox_head.loss(self._outs(batch), batch)

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        return self.bbox_head.decode(self._outs(batch), batch.metas)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.bbox_head.predict(self._outs(batch), batch.metas, rescale=rescale)
