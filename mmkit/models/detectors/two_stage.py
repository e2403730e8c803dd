"""Detectors of two stages: proposals of regions, and a RoI head that classifies and refines them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.detectors.base import Detector, DetectorArgs
from mmkit.models.detectors.rpn import TEST_KEYS, TRAIN_KEYS
from mmkit.models.settings import warn_unknown_settings
from mmkit.protocols import NMSSettings, ProposalHead, RoIHead
from mmkit.registry import DETECTORS, ROI_HEADS, RPN_HEADS, Cfg
from mmkit.structures import Batch, Instances


@DETECTORS.register_module(
    [
        'TwoStageDetector',
        'FastRCNN',
        'FasterRCNN',
        'MaskRCNN',
        'CascadeRCNN',
        'HybridTaskCascade',
        'MaskScoringRCNN',
        'CrowdDet',
    ]
)
class TwoStageDetector(Detector):
    """Backbone, neck, region proposal network, RoI head.

    Faster R-CNN (arXiv:1506.01497), Mask R-CNN (arXiv:1703.06870), Cascade R-CNN (arXiv:1712.00726) and Hybrid Task
    Cascade (arXiv:1901.07518) differ in their RoI heads; Fast R-CNN (arXiv:1504.08083) has no `rpn_head`.

    Args:
        rpn_head: without one, the batch must bring `proposals`.
        train_cfg: `rpn`, `rpn_proposal` (proposals during training; default: those of testing), `rcnn`.
        test_cfg: `rpn`, `rcnn`.

    Others as in `Detector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        roi_head: Cfg,
        rpn_head: Cfg | None = None,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        **kwargs: Unpack[DetectorArgs],
    ) -> None:
        super().__init__(backbone, **kwargs)
        train_cfg, test_cfg = train_cfg or {}, test_cfg or {}
        warn_unknown_settings(train_cfg, TRAIN_KEYS, 'train_cfg')
        warn_unknown_settings(test_cfg, TEST_KEYS, 'test_cfg')
        self.rpn_head: ProposalHead[Any] | None = None
        if rpn_head is not None:
            self.rpn_head = RPN_HEADS.build(rpn_head, train_cfg=train_cfg.get('rpn'), test_cfg=test_cfg.get('rpn'))
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

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        batch = self.preprocess(batch)
        feats = self.extract_feat(batch.imgs)
        if self.rpn_head is None:
            proposals = torch.stack([each.bboxes for each in given_proposals(batch)])  # as many on each image
        else:
            proposals = self.rpn_head.decode_proposals(self.rpn_head(feats), batch.metas)
        return self.roi_head.decode(feats, proposals, batch.metas)

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
            'and put LoadProposals and the key "proposals" into its pipeline',
            key='rpn_head',
        )
    return batch.proposals
