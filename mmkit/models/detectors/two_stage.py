"""Detectors that propose regions and then look at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.detectors.base import Detector
from mmkit.models.settings import warn_unknown_settings
from mmkit.protocols import DenseHead, NMSSettings, RoIHead
from mmkit.registry import DENSE_HEADS, DETECTORS, ROI_HEADS
from mmkit.structures import Batch, Instances

Cfg = Mapping[str, Any]


@DETECTORS.register_module(
    ['TwoStageDetector', 'FastRCNN', 'FasterRCNN', 'MaskRCNN', 'CascadeRCNN', 'HybridTaskCascade']
)
class TwoStageDetector(Detector):
    """Backbone, neck, region proposal network, RoI head.

    Faster R-CNN (arXiv:1506.01497), Mask R-CNN (arXiv:1703.06870), Cascade R-CNN (arXiv:1712.00726) and Hybrid Task
    Cascade (arXiv:1901.07518) differ in their RoI heads; Fast R-CNN (arXiv:1504.08083) has no `rpn_head`.

    Args:
        rpn_head: without one, the batch must bring `proposals`.
        train_cfg: `rpn`, `rpn_proposal` (proposals during training; default: those of testing), `rcnn`.
        test_cfg: `rpn`, `rcnn`.
    """

    def __init__(
        self,
        backbone: Cfg,
        neck: Cfg | Sequence[Cfg] | None = None,
        rpn_head: Cfg | None = None,
        *,
        roi_head: Cfg,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(backbone, neck, pretrained, init_cfg)
        train_cfg, test_cfg = train_cfg or {}, test_cfg or {}
        warn_unknown_settings(train_cfg, ('rpn', 'rpn_proposal', 'rcnn'), 'train_cfg')
        warn_unknown_settings(test_cfg, ('rpn', 'rcnn'), 'test_cfg')
        self.rpn_head: DenseHead[Any] | None = None
        if rpn_head is not None:
            self.rpn_head = DENSE_HEADS.build(rpn_head, train_cfg=train_cfg.get('rpn'), test_cfg=test_cfg.get('rpn'))
        proposal_cfg = train_cfg.get('rpn_proposal', test_cfg.get('rpn'))
        self.train_proposals = PostProcessing.from_cfg(proposal_cfg) if proposal_cfg else None
        self.roi_head: RoIHead = ROI_HEADS.build(
            roi_head, train_cfg=train_cfg.get('rcnn'), test_cfg=test_cfg.get('rcnn')
        )
        self.needs = (*self.needs, *self.roi_head.needs)

    @property
    def nms_settings(self) -> NMSSettings | None:
        return self.roi_head.test_cfg

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        feats = self.extract_feat(batch.imgs)
        if self.rpn_head is None:
            return self.roi_head.loss(feats, given_proposals(batch), batch)
        outs = self.rpn_head(feats)
        losses = self.rpn_head.loss(outs, batch)
        proposals = self.rpn_head.predict(outs, batch.metas, self.train_proposals, rescale=False)
        return {**losses, **self.roi_head.loss(feats, proposals, batch)}

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        feats = self.extract_feat(batch.imgs)
        if self.rpn_head is None:
            proposals = given_proposals(batch)
        else:
            proposals = self.rpn_head.predict(self.rpn_head(feats), batch.metas, rescale=False)
        return self.roi_head.predict(feats, proposals, batch.metas, rescale=rescale)


def given_proposals(batch: Batch) -> list[Instances]:
    """The proposals that the batch brings.

    Raises:
        InvalidValueError: if it brings none.
    """
    if batch.proposals is None:
        raise InvalidValueError(
            'a detector without rpn_head needs proposals: set proposal_file of the dataset '
            'and put LoadProposals and the key "proposals" into its pipeline'
        )
    return batch.proposals
