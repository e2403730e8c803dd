"""The second stage of CrowdDet, arXiv:2003.09163."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.assigners import MultiInstanceAssignment
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.roi_heads.bbox_heads import MultiInstanceBBoxHead
from mmkit.models.roi_heads.bbox_heads.multi_instance_bbox_head import MultiInstanceOuts
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.roi_heads.roi_settings import RoITestSettings, RoITrainSettings
from mmkit.models.settings import required
from mmkit.ops import set_nms
from mmkit.protocols import RoIExtractor
from mmkit.registry import HEADS, ROI_EXTRACTORS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances


@HEADS.register_module()
class MultiInstanceRoIHead(BaseModule):
    """Predicts the K objects that a region may show as a set, and suppresses no two of one region.

    Args:
        bbox_roi_extractor, bbox_head: configs or built objects, a `MultiInstanceBBoxHead`.
        num_instance: K, as that of the head.
        train_cfg: see `RoITrainSettings`; a `MultiInstanceAssigner`.
        test_cfg: see `RoITestSettings`; of `nms` only `iou_threshold` counts.

    Raises:
        InvalidTypeError: for another kind of head.
        InvalidValueError: if the numbers of objects differ.
    """

    needs: tuple[str, ...] = ()

    def __init__(
        self,
        bbox_roi_extractor: Cfg,
        bbox_head: Cfg,
        num_instance: int = 2,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.bbox_roi_extractor: RoIExtractor = ROI_EXTRACTORS.build(bbox_roi_extractor)
        head = HEADS.build(bbox_head)
        if not isinstance(head, MultiInstanceBBoxHead):
            message = f'MultiInstanceRoIHead needs a MultiInstanceBBoxHead, got {type(head).__name__}'
            raise InvalidTypeError(message, key='bbox_head')
        if head.num_instance != num_instance:
            message = f'num_instance is {num_instance}, that of bbox_head {head.num_instance}'
            raise InvalidValueError(message, key='num_instance')
        self.bbox_head = head
        self.train_cfg = RoITrainSettings.from_cfg(train_cfg) if train_cfg else None
        self.test_cfg = RoITestSettings.from_cfg(test_cfg) if test_cfg is not None else None

    def _outs(self, feats: Sequence[Tensor], rois: Tensor) -> list[MultiInstanceOuts]:
        outs: list[MultiInstanceOuts] = self.bbox_head(
            self.bbox_roi_extractor(feats[: self.bbox_roi_extractor.num_inputs], rois)
        )
        return outs

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses by name; `proposals` are in pixels of the network's input, and the objects themselves join them."""
        assert batch.gts is not None
        images = zip(proposals, batch.gts, batch.ignored_regions, strict=True)
        bboxes, labels, bbox_targets = zip(*(self.targets(*image) for image in images), strict=True)
        outs = self._outs(feats, bboxes_to_rois(bboxes))
        return self.bbox_head.loss(outs, torch.cat(labels), torch.cat(bbox_targets))

    @torch.no_grad()
    def targets(self, proposals: Instances, gts: Instances, ignored: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Sampled regions (R, 4) of one image, labels (R, K) and deltas (R, K, 4) of the objects in them."""
        settings = required(self.train_cfg, 'train_cfg.rcnn', self)
        assert gts.labels is not None
        regions = [proposals.bboxes, gts.bboxes, *([] if ignored is None else [ignored])]
        bboxes = torch.cat(regions)  # (N, 4)
        assignment = settings.assigner.assign(bboxes, gts, ignored)
        if not isinstance(assignment, MultiInstanceAssignment):
            kind = type(settings.assigner).__name__
            raise InvalidTypeError(f'MultiInstanceRoIHead needs a MultiInstanceAssigner, got {kind}', key='assigner')
        samples = settings.sampler.sample(assignment, bboxes, gts)
        bboxes = samples.bboxes
        gt_inds = assignment.instance_gt_inds[torch.cat([samples.pos_inds, samples.neg_inds])]  # (R, K)
        labels = torch.full_like(gt_inds, self.bbox_head.num_classes)
        bbox_targets = bboxes.new_zeros(*gt_inds.shape, 4)
        rows, columns = (gt_inds >= 0).nonzero(as_tuple=True)
        chosen = gt_inds[rows, columns]
        labels[rows, columns] = gts.labels[chosen]
        bbox_targets[rows, columns] = self.bbox_head.bbox_coder.encode(bboxes[rows], gts.bboxes[chosen])
        return bboxes, labels, bbox_targets

    # ------------------------------------------------------------------ prediction

    def _decode(
        self, feats: Sequence[Tensor], proposals: Sequence[Tensor], metas: Sequence[ImageMeta]
    ) -> list[tuple[Tensor, Tensor]]:
        """Boxes (P * K, 4 or 4C) and scores (P * K, C) of the P proposals of each image."""
        counts = [len(each) for each in proposals]
        rois = bboxes_to_rois(proposals)
        outs = self._outs(feats, rois)[-1]
        parts = zip(rois.split(counts), outs.cls_score.split(counts), outs.bbox_pred.split(counts), metas, strict=True)
        return [
            self.bbox_head.decode(image_rois, MultiInstanceOuts(scores, deltas), meta.img_shape)
            for image_rois, scores, deltas, meta in parts
        ]

    def decode(self, feats: Sequence[Tensor], proposals: Tensor, metas: Sequence[ImageMeta]) -> tuple[Tensor, Tensor]:
        """Proposals (B, P, 4) -> boxes (B, P * K, 4) and scores (B, P * K, C), before NMS."""
        boxes, scores = zip(*self._decode(feats, proposals.unbind(), metas), strict=True)
        if boxes[0].shape[-1] != 4:
            raise InvalidValueError('export needs one box for all classes: reg_class_agnostic=True')
        return torch.stack(boxes), torch.stack(scores)

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[Instances],
        metas: Sequence[ImageMeta],
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        decoded = self._decode(feats, [each.bboxes for each in proposals], metas)
        return [self._detect(*each, meta, rescale) for each, meta in zip(decoded, metas, strict=True)]

    def _detect(self, boxes: Tensor, scores: Tensor, meta: ImageMeta, rescale: bool) -> Instances:
        settings = required(self.test_cfg, 'test_cfg.rcnn', self)
        rows, labels = (scores > settings.score_thr).nonzero(as_tuple=True)
        boxes = boxes.reshape(len(boxes), boxes.shape[1] // 4, 4)
        boxes = boxes[rows, labels if boxes.shape[1] > 1 else torch.zeros_like(labels)]
        if rescale:
            boxes = boxes / boxes.new_tensor(meta.scale_factor)
        scores = scores[rows, labels]
        regions = rows // self.bbox_head.num_instance
        keep = set_nms(boxes, scores, labels, regions, settings.nms['iou_threshold'])
        if settings.max_per_img > 0:  # of the best proposals, which come first
            keep = keep[: settings.max_per_img]
        keep = keep[scores[keep].argsort(descending=True, stable=True)]
        return Instances(bboxes=boxes[keep], labels=labels[keep], scores=scores[keep])
