"""Detectors with one dense head."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from mmkit.models.detectors.base import Detector, DetectorArgs
from mmkit.protocols import DenseHead, NMSSettings
from mmkit.registry import DENSE_HEADS, DETECTORS, Cfg
from mmkit.structures import Batch, Instances


class SingleStageArgs(DetectorArgs, total=False):
    """Arguments that every detector with one dense head takes besides those of its own; see `SingleStageDetector`."""

    train_cfg: Cfg | None
    test_cfg: Cfg | None


@DETECTORS.register_module(
    [
        'SingleStageDetector',
        'ATSS',
        'CenterNet',
        'FCOS',
        'FOVEA',
        'FSAF',
        'GFL',
        'PAA',
        'RepPointsDetector',
        'RetinaNet',
        'TOOD',
        'VFNet',
        'YOLOF',
        'YOLOV3',
    ]
)
class SingleStageDetector(Detector):
    """Backbone, neck and dense head. Detectors of the other names differ in the head only.

    Args:
        bbox_head: config of a dense head.
        train_cfg, test_cfg: the settings of that head.

    Others as in `Detector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        **kwargs: Unpack[DetectorArgs],
    ) -> None:
        super().__init__(backbone, **kwargs)
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
        batch = self.preprocess(batch)
        return self.bbox_head.decode(self._outs(batch), batch.metas)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.bbox_head.predict(self._outs(batch), batch.metas, rescale=rescale)
