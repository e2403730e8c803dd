"""CondInst, arXiv:2003.05664, and BoxInst, arXiv:2012.02310."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.models.dense_heads import CondInstBboxHead
from mmkit.models.dense_heads.detections import PriorInstances
from mmkit.models.detectors.single_stage import SingleStageArgs, SingleStageDetector
from mmkit.models.mask_heads import CondInstMaskHead
from mmkit.models.settings import required
from mmkit.registry import DETECTORS, HEADS, Cfg
from mmkit.structures import Batch, Instances


@DETECTORS.register_module(['CondInst', 'BoxInst'])
class CondInst(SingleStageDetector):
    """FCOS with a mask for every detection, by convolutions that the box head predicts for it.

    BoxInst learns its masks from boxes: by its mask head and its data preprocessor.

    Args:
        bbox_head: a `CondInstBboxHead`.
        mask_head: a `CondInstMaskHead`; its `needs` are the detector's, too.
        train_cfg, test_cfg: of `bbox_head`, see `CondInstPostProcessing`.

    Others as in `Detector`.

    Raises:
        InvalidTypeError: for heads of other kinds.
        InvalidValueError: if `num_params` of `bbox_head` are not those that `mask_head` needs.
    """

    with_mask = True
    mask_head: CondInstMaskHead

    def __init__(self, backbone: Cfg, bbox_head: Cfg, mask_head: Cfg, **kwargs: Unpack[SingleStageArgs]) -> None:
        super().__init__(backbone, bbox_head, **kwargs)
        boxes: object = self.bbox_head
        masks = HEADS.build(mask_head)
        if not isinstance(boxes, CondInstBboxHead) or not isinstance(masks, CondInstMaskHead):
            given = f'{type(boxes).__name__} and {type(masks).__name__}'
            raise InvalidTypeError(
                f'{type(self).__name__} needs a CondInstBboxHead and a CondInstMaskHead, got {given}'
            )
        self.mask_head = masks
        self.needs = (*self.needs, *masks.needs)
        if boxes.num_params != masks.num_params:
            message = f'num_params of bbox_head is {boxes.num_params}, masks of mask_head need {masks.num_params}'
            raise InvalidValueError(message, key='bbox_head')

    @property
    def _boxes(self) -> CondInstBboxHead:
        return cast(CondInstBboxHead, self.bbox_head)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        feats = self.extract_feat(batch.imgs)
        outs = self._boxes(feats)
        targets = self._boxes.batch_targets(outs, batch)
        kernels = self._boxes.positive_kernels(outs, targets)
        losses = self._boxes.losses(outs, targets)
        return {**losses, **self.mask_head.loss(self.mask_head(feats), kernels, batch)}

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        """Of the points with the best scores, `max_per_img` of each image (-1: all).

        Returns:
            Boxes (B, N, 4) in pixels of the network's input, scores (B, N, C), and probabilities (B, N, h, w) of masks
            of the whole input.
        """
        batch = self.preprocess(batch)
        feats = self.extract_feat(batch.imgs)
        outs = self._boxes(feats)
        boxes, scores = self._boxes.decode(outs, batch.metas)
        limit = required(self._boxes.test_cfg, 'test_cfg', self).max_per_img
        best = scores.amax(dim=-1).topk(limit if limit > 0 else scores.shape[1]).indices  # (B, N)
        rows = torch.arange(len(best), device=best.device)[:, None]
        kernels = self._boxes.kernels_at(outs, best.unbind())
        mask_feats = self.mask_head(feats)
        masks = [self.mask_head.logits(each, chosen) for each, chosen in zip(mask_feats, kernels, strict=True)]
        return boxes[rows, best], scores[rows, best], torch.stack(masks).sigmoid()

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        feats = self.extract_feat(batch.imgs)
        outs = self._boxes(feats)
        detections = self._boxes.detect(outs, batch.metas, rescale)
        kernels = self._boxes.kernels_at(outs, [inds_of(each) for each in detections])
        threshold = required(self._boxes.test_cfg, 'test_cfg', self).mask_thr
        masks = self.mask_head.predict(self.mask_head(feats), kernels, batch.metas, threshold, rescale)
        return [
            Instances(bboxes=each.bboxes, labels=each.labels, scores=each.scores, masks=image_masks)
            for each, image_masks in zip(detections, masks, strict=True)
        ]


def inds_of(detections: PriorInstances) -> Tensor:
    """(K,) the priors that detections come from."""
    assert detections.prior_inds is not None
    return detections.prior_inds
