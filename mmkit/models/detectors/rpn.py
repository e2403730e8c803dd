"""The region proposal network as a detector of its own, arXiv:1506.01497."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from torch import Tensor
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.models.detectors.base import Detector, DetectorArgs
from mmkit.models.settings import warn_unknown_settings
from mmkit.protocols import NMSSettings, ProposalHead
from mmkit.registry import DETECTORS, RPN_HEADS, Cfg
from mmkit.structures import Batch, Instances

TRAIN_KEYS = ('rpn', 'rpn_proposal', 'rcnn')
TEST_KEYS = ('rpn', 'rcnn')
HEAD_NAMES = ('rpn_head', 'bbox_head')


@DETECTORS.register_module()
class RPN(Detector):
    """Backbone, neck and region proposal network; its detections are proposals, all of class 0.

    Args:
        train_cfg, test_cfg: `rpn`, the settings of the head; those of a two-stage detector besides it have no effect.
        head_name: of the head in checkpoints: 'rpn_head', or as in those of mmdetection 3.x 'bbox_head'.

    Others as in `Detector`.

    Raises:
        InvalidValueError: for another `head_name`.
    """

    needs = ('gt_bboxes',)

    def __init__(
        self,
        backbone: Cfg,
        rpn_head: Cfg,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        head_name: str = 'rpn_head',
        **kwargs: Unpack[DetectorArgs],
    ) -> None:
        super().__init__(backbone, **kwargs)
        if head_name not in HEAD_NAMES:
            raise InvalidValueError(f'head_name of RPN is one of {HEAD_NAMES}, got {head_name!r}', key='head_name')
        train_cfg, test_cfg = train_cfg or {}, test_cfg or {}
        warn_unknown_settings(train_cfg, TRAIN_KEYS, 'train_cfg')
        warn_unknown_settings(test_cfg, TEST_KEYS, 'test_cfg')
        self.head_name = head_name
        head: Any = RPN_HEADS.build(rpn_head, train_cfg=train_cfg.get('rpn'), test_cfg=test_cfg.get('rpn'))
        self.add_module(head_name, head)

    @property
    def head(self) -> ProposalHead[Any]:
        return cast(ProposalHead[Any], self.get_submodule(self.head_name))

    @property
    def nms_settings(self) -> NMSSettings | None:
        return self.head.test_cfg

    def _outs(self, batch: Batch) -> Any:
        return self.head(self.extract_feat(batch.imgs))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        # Every object is a region: the class plays no part.
        assert batch.gts is not None
        regions = replace(batch, gts=[Instances(bboxes=each.bboxes) for each in batch.gts])
        return self.head.loss(self._outs(batch), regions)

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        batch = self.preprocess(batch)
        return self.head.decode(self._outs(batch), batch.metas)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.head.predict(self._outs(batch), batch.metas, rescale=rescale)
