"""From the predictions of a region proposal network to proposals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmkit.models.dense_heads.detections import DecodeBoxes, LevelPredictions, PostProcessing
from mmkit.ops import batched_nms
from mmkit.structures import ImageMeta, Instances


def propose(
    levels: Sequence[LevelPredictions],
    decode_boxes: DecodeBoxes,
    metas: Sequence[ImageMeta],
    cfg: PostProcessing,
    rescale: bool,
) -> list[Instances]:
    """Proposals of each image: the best of each level, NMS within each level, the best of all levels.

    Priors with a negative score take no part.
    """
    proposals = []
    for image, meta in enumerate(metas):
        bboxes, scores, level_inds = _candidates(levels, decode_boxes, image, meta, cfg)
        known = scores >= 0
        proposals.append(_finish(bboxes[known], scores[known], level_inds[known], meta, cfg, rescale))
    return proposals


def propose_static(
    levels: Sequence[LevelPredictions], decode_boxes: DecodeBoxes, metas: Sequence[ImageMeta], cfg: PostProcessing
) -> Tensor:
    """Proposals (B, P, 4) in pixels of the network's input, where P doesn't depend on the image, for export.

    They are those of `propose`, but where NMS leaves fewer than `max_per_img`, the best of the others fill up.
    """
    proposals = []
    for image, meta in enumerate(metas):
        bboxes, scores, level_inds = _candidates(levels, decode_boxes, image, meta, cfg)
        large = ((bboxes[:, 2:] - bboxes[:, :2]) > cfg.min_bbox_size).all(dim=1)
        scores = torch.where(large, scores, scores - 2)  # below all others, whom they cannot suppress
        _, keep = batched_nms(bboxes, scores, level_inds, cfg.nms)
        if cfg.nms_post > 0:
            keep = keep[_best_of_level(level_inds[keep], len(levels), cfg.nms_post)]
        survives = torch.zeros_like(large).index_fill(0, keep, True)
        limit = cfg.max_per_img if cfg.max_per_img > 0 else len(bboxes)
        best = torch.where(survives, scores, scores - 4).topk(min(limit, len(bboxes))).indices
        proposals.append(bboxes[best])
    return torch.stack(proposals)


def _candidates(
    levels: Sequence[LevelPredictions], decode_boxes: DecodeBoxes, image: int, meta: ImageMeta, cfg: PostProcessing
) -> tuple[Tensor, Tensor, Tensor]:
    """The best boxes (K, 4) of each level, their scores (K,) and levels (K,)."""
    bboxes, scores, level_inds = [], [], []
    for number, level in enumerate(levels):
        best, inds = level.scores[image, :, 0], torch.arange(len(level.priors), device=level.scores.device)
        if 0 < cfg.nms_pre < len(best):  # topk would order equal scores differently, and NMS sees it
            best, inds = (each[: cfg.nms_pre] for each in best.sort(descending=True))
        bboxes.append(decode_boxes(level.priors[inds], level.box_preds[image, inds], meta.img_shape))
        scores.append(best)
        level_inds.append(torch.full_like(inds, number))
    return torch.cat(bboxes), torch.cat(scores), torch.cat(level_inds)


def _finish(
    bboxes: Tensor, scores: Tensor, levels: Tensor, meta: ImageMeta, cfg: PostProcessing, rescale: bool
) -> Instances:
    """Proposals of one image from the candidates (K, 4), (K,), (K,) of all levels, best first."""
    if cfg.min_bbox_size >= 0:
        keep = ((bboxes[:, 2:] - bboxes[:, :2]) > cfg.min_bbox_size).all(dim=1)
        bboxes, scores, levels = bboxes[keep], scores[keep], levels[keep]
    if len(bboxes):
        dets, kept = batched_nms(bboxes, scores, levels, cfg.nms)
        if cfg.nms_post > 0:
            dets = dets[_best_of_level(levels[kept], int(levels.max()) + 1, cfg.nms_post)]
        dets = dets[: cfg.max_per_img] if cfg.max_per_img > 0 else dets
        bboxes, scores = dets[:, :4], dets[:, 4]
    if rescale:
        bboxes = bboxes / bboxes.new_tensor(meta.scale_factor)
    return Instances(bboxes=bboxes, scores=scores, labels=torch.zeros_like(scores, dtype=torch.long))


def _best_of_level(levels: Tensor, num_levels: int, count: int) -> Tensor:
    """(K,) bool: the first `count` of each level among proposals on `levels` (K,), best first."""
    ranks = one_hot(levels, num_levels).cumsum(dim=0).gather(1, levels[:, None]).squeeze(1)  # from 1
    return ranks <= count
