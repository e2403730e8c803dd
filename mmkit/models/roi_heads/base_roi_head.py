"""Base of RoI heads: prediction and decoding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.roi_heads.roi_extractors import bboxes_to_rois
from mmkit.models.roi_heads.roi_settings import RoITestSettings
from mmkit.models.settings import required
from mmkit.protocols import BBoxHead, MaskHead
from mmkit.registry import Cfg
from mmkit.structures import Batch, ImageMeta, Instances


@dataclass
class RegionOutputs:
    """The last box head's outputs for R regions, and the regions that they refine."""

    rois: Tensor  # (R, 5) index of the image, x1, y1, x2, y2
    scores: Tensor  # (R, C + 1) probabilities, background last
    bbox_pred: Tensor | None  # (R, 4 or 4C)


class BaseRoIHead(BaseModule):
    """Base of RoI heads, which score, refine and perhaps segment regions of the image.

    A subclass defines `loss`, and the steps that score and segment the regions of all images together.

    Args:
        test_cfg: see `RoITestSettings`; predicting needs it.

    Attributes:
        needs: fields of the ground truth to learn from, besides boxes and labels.
    """

    needs: tuple[str, ...] = ()

    def __init__(self, test_cfg: Cfg | None = None, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        self.test_cfg = RoITestSettings.from_cfg(test_cfg) if test_cfg is not None else None

    @property
    def with_mask(self) -> bool:
        return self.final_mask_head is not None

    @property
    @abstractmethod
    def final_bbox_head(self) -> BBoxHead:
        """The box head whose outputs become detections."""

    @property
    @abstractmethod
    def final_mask_head(self) -> MaskHead | None:
        """The mask head whose outputs become detections."""

    @abstractmethod
    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses by name; `proposals` are in pixels of the network's input."""

    @abstractmethod
    def _box_outputs(
        self, feats: Sequence[Tensor], rois: Tensor, counts: Sequence[int], metas: Sequence[ImageMeta]
    ) -> RegionOutputs:
        """Outputs for (R, 5) regions; `counts` has the number of regions of each image."""

    @abstractmethod
    def _mask_logits(self, feats: Sequence[Tensor], rois: Tensor) -> list[Tensor]:
        """Logits (R, C or 1, h, w) of the masks, one of each stage."""

    def _mask_quality(
        self, feats: Sequence[Tensor], rois: Tensor, stages: Sequence[Tensor], labels: Tensor
    ) -> Tensor | None:
        """(R,) factors on the scores of detections, from their masks; None leaves the scores."""
        return None

    def _context(self, feats: Sequence[Tensor]) -> Sequence[Tensor]:
        """Features for both branches; a subclass may add some."""
        return feats

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[Instances],
        metas: Sequence[ImageMeta],
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        settings = required(self.test_cfg, 'test_cfg.rcnn', self)
        feats = self._context(feats)
        counts = [len(each) for each in proposals]
        outs = self._box_outputs(feats, bboxes_to_rois([each.bboxes for each in proposals]), counts, metas)
        detections = [
            self.final_bbox_head.predict(image.rois, image.scores, image.bbox_pred, meta, settings, rescale)
            for image, meta in zip(_per_image(outs, counts), metas, strict=True)
        ]
        mask_head = self.final_mask_head
        if mask_head is None:
            return detections
        bboxes = [
            each.bboxes * each.bboxes.new_tensor(meta.scale_factor) if rescale else each.bboxes
            for each, meta in zip(detections, metas, strict=True)
        ]  # in pixels of the network's input
        counts = [len(each) for each in detections]
        rois = bboxes_to_rois(bboxes)
        logits = self._mask_logits(feats, rois)
        quality = self._mask_quality(feats, rois, logits, torch.cat([_labels(each) for each in detections]))
        if quality is not None:
            detections = [
                replace(each, scores=each.scores * factors) for each, factors in zip(detections, quality.split(counts))
            ]
        stages = [torch.split(each, counts) for each in logits]
        threshold = settings.mask_thr_binary
        return [
            replace(each, masks=mask_head.predict([stage[i] for stage in stages], each, metas[i], threshold, rescale))
            for i, each in enumerate(detections)
        ]

    # ------------------------------------------------------------------ export

    def decode(
        self, feats: Sequence[Tensor], proposals: Tensor, metas: Sequence[ImageMeta]
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Scored boxes, and masks of them, with shapes that don't depend on the image: no thresholds, no NMS.

        A row is a pair of a region and a class, because each class may have a box of its own and has a mask of its
        own. Of the P * C pairs the P of the highest scores are returned, best first: NMS, which starts with those,
        then gives the detections of `predict`, as long as no more than P pairs score above its threshold.

        Args:
            proposals: (B, P, 4) in pixels of the network's input.

        Returns:
            Boxes (B, P, 4) in pixels of the network's input; scores (B, P, C), 0 but for the class of the row; with a
            mask head, the probabilities (B, P, h, w) of the mask of that class, spread over the box.
        """
        feats = self._context(feats)
        num_images, num_regions = proposals.shape[:2]
        counts = [num_regions] * num_images
        outs = self._box_outputs(feats, bboxes_to_rois(proposals.unbind()), counts, metas)
        boxes = torch.stack(
            [
                self.final_bbox_head.decode(image.rois, image.bbox_pred, meta)
                for image, meta in zip(_per_image(outs, counts), metas, strict=True)
            ]
        )  # (B, P, 4 or 4C)
        box_quality = self.final_bbox_head.box_quality(outs.bbox_pred)
        weighted = outs.scores if box_quality is None else outs.scores * box_quality[:, None]
        scores = weighted.reshape(num_images, num_regions, -1)[..., :-1]  # (B, P, C)
        boxes, scores, labels = best_pairs(boxes, scores)
        if self.final_mask_head is None:
            return boxes, scores
        rois = bboxes_to_rois(boxes.unbind())
        stages = self._mask_logits(feats, rois)
        quality = self._mask_quality(feats, rois, stages, labels.flatten())
        if quality is not None:
            scores = scores * quality.reshape(num_images, num_regions, 1)
        masks = self.final_mask_head.decode(stages, labels.flatten())
        return boxes, scores, masks.reshape(num_images, num_regions, *masks.shape[1:])


def best_pairs(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best pairs of a region and a class, as many as there are regions.

    Args:
        boxes: (B, P, 4), or (B, P, 4C) if every class has its own.
        scores: (B, P, C).

    Returns:
        Boxes (B, P, 4), scores (B, P, C) that are 0 but for the class of the row, and these classes (B, P).
    """
    num_regions, num_classes = scores.shape[1:]
    values, pairs = scores.flatten(1).topk(num_regions)  # (B, P)
    labels = pairs % num_classes
    boxes = boxes.reshape(*boxes.shape[:2], -1, 4).expand(-1, -1, num_classes, -1).flatten(1, 2)  # (B, P * C, 4)
    boxes = boxes.gather(1, pairs[..., None].expand(-1, -1, 4))
    return boxes, torch.zeros_like(scores).scatter(2, labels[..., None], values[..., None]), labels


def _labels(detections: Instances) -> Tensor:
    assert detections.labels is not None
    return detections.labels


def _per_image(outs: RegionOutputs, counts: Sequence[int]) -> list[RegionOutputs]:
    sizes = list(counts)
    deltas = [None] * len(sizes) if outs.bbox_pred is None else torch.split(outs.bbox_pred, sizes)
    parts = zip(torch.split(outs.rois, sizes), torch.split(outs.scores, sizes), deltas, strict=True)
    return [RegionOutputs(*each) for each in parts]
