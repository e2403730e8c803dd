"""Detectors that propose regions and then look at each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.detectors.base import Detector
from mmkit.models.settings import warn_unknown_settings
from mmkit.registry import DETECTORS, HEADS, build_from_cfg
from mmkit.structures import Batch, Instances


@DETECTORS.register_module()
class TwoStageDetector(Detector):
    """Backbone, neck, region proposal network, RoI head (arXiv:1506.01497).

    Args:
        rpn_head: without one, the batch must bring `proposals` (Fast R-CNN).
        train_cfg: `rpn`, `rpn_proposal` (proposals during training; default: those of testing), `rcnn`.
        test_cfg: `rpn`, `rcnn`.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        rpn_head: Mapping[str, Any] | None = None,
        roi_head: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck, pretrained, init_cfg)
        train_cfg, test_cfg = train_cfg or {}, test_cfg or {}
        warn_unknown_settings(train_cfg, ('rpn', 'rpn_proposal', 'rcnn'), 'train_cfg')
        warn_unknown_settings(test_cfg, ('rpn', 'rcnn'), 'test_cfg')
        if rpn_head is not None:
            self.rpn_head = build_from_cfg(
                rpn_head, HEADS, dict(train_cfg=train_cfg.get('rpn'), test_cfg=test_cfg.get('rpn'))
            )
            proposal_cfg = train_cfg.get('rpn_proposal', test_cfg.get('rpn'))
            self.train_proposals = PostProcessing.from_cfg(proposal_cfg) if proposal_cfg else None
        if roi_head is not None:
            cfgs = dict(train_cfg=train_cfg.get('rcnn'), test_cfg=test_cfg.get('rcnn'))
            self.roi_head = build_from_cfg(roi_head, HEADS, cfgs)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        feats = self.extract_feat(batch.imgs)
        losses: dict[str, Tensor] = {}
        if hasattr(self, 'rpn_head'):
            outs = self.rpn_head(feats)
            losses.update(self.rpn_head.loss(outs, batch))
            proposals = self.rpn_head.predict(outs, batch.metas, self.train_proposals, rescale=False)
        else:
            proposals = self._given_proposals(batch)
        losses.update(self.roi_head.loss(feats, proposals, batch))
        return losses

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        feats = self.extract_feat(batch.imgs)
        if hasattr(self, 'rpn_head'):
            proposals = self.rpn_head.predict(self.rpn_head(feats), batch.metas, rescale=False)
        else:
            proposals = self._given_proposals(batch)
        return self.roi_head.predict(feats, proposals, batch.metas, rescale=rescale)

    @staticmethod
    def _given_proposals(batch: Batch) -> list[Instances]:
        if batch.proposals is None:
            raise ValueError(
                'a detector without rpn_head needs proposals: set proposal_file of the dataset '
                'and put LoadProposals and the key "proposals" into its pipeline'
            )
        return batch.proposals


@DETECTORS.register_module()
class FasterRCNN(TwoStageDetector):
    """Faster R-CNN, arXiv:1506.01497."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        rpn_head: Mapping[str, Any],
        roi_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        neck: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck, rpn_head, roi_head, train_cfg, test_cfg, pretrained, init_cfg)


@DETECTORS.register_module()
class MaskRCNN(FasterRCNN):
    """Mask R-CNN, arXiv:1703.06870."""


@DETECTORS.register_module()
class CascadeRCNN(TwoStageDetector):
    """Cascade R-CNN and Cascade Mask R-CNN, arXiv:1712.00726."""


@DETECTORS.register_module()
class HybridTaskCascade(CascadeRCNN):
    """Hybrid task cascade, arXiv:1901.07518."""


@DETECTORS.register_module()
class FastRCNN(TwoStageDetector):
    """Fast R-CNN, arXiv:1504.08083: the regions come with the batch."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        roi_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        neck: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck, None, roi_head, train_cfg, test_cfg, pretrained, init_cfg)


@DETECTORS.register_module()
class RPN(TwoStageDetector):
    """The region proposal network alone; its detections are proposals, all of class 0."""

    needs_labels = False

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | None,
        rpn_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck, rpn_head, None, train_cfg, test_cfg, pretrained, init_cfg)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        # Every object is a region: the class plays no part.
        assert batch.gts is not None
        batch = replace(batch, gts=[Instances(bboxes=each.bboxes) for each in batch.gts])
        return self.rpn_head.loss(self.rpn_head(self.extract_feat(batch.imgs)), batch)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.rpn_head.predict(self.rpn_head(self.extract_feat(batch.imgs)), batch.metas, rescale=rescale)
