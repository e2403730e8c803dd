"""The region proposal network as a detector of its own, arXiv:1506.01497."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from mmkit.layers.init import InitCfg
from mmkit.models.detectors.base import Detector
from mmkit.models.settings import warn_unknown_settings
from mmkit.protocols import DenseHead, NMSSettings
from mmkit.registry import DENSE_HEADS, DETECTORS
from mmkit.structures import Batch, Instances


@DETECTORS.register_module()
class RPN(Detector):
    """Backbone, neck and region proposal network; its detections are proposals, all of class 0.

    Args:
        train_cfg, test_cfg: `rpn`, and what a two-stage detector reads besides.
    """

    needs = ('gt_bboxes',)

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        rpn_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(backbone, neck, pretrained, init_cfg)
        train_cfg, test_cfg = train_cfg or {}, test_cfg or {}
        warn_unknown_settings(train_cfg, ('rpn', 'rpn_proposal', 'rcnn'), 'train_cfg')
        warn_unknown_settings(test_cfg, ('rpn', 'rcnn'), 'test_cfg')
        self.rpn_head: DenseHead[Any] = DENSE_HEADS.build(
            rpn_head, train_cfg=train_cfg.get('rpn'), test_cfg=test_cfg.get('rpn')
        )

    @property
    def nms_settings(self) -> NMSSettings | None:
        return self.rpn_head.test_cfg

    def _outs(self, batch: Batch) -> Any:
        return self.rpn_head(self.extract_feat(batch.imgs))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        # Every object is a region: the class plays no part.
        assert batch.gts is not None
        regions = replace(batch, gts=[Instances(bboxes=each.bboxes) for each in batch.gts])
        return self.rpn_head.loss(self._outs(batch), regions)

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        return self.rpn_head.decode(self._outs(batch), batch.metas)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.rpn_head.predict(self._outs(batch), batch.metas, rescale=rescale)
