"""Pyramid levels laid side by side, and the way back from dense scores to the boxes of one image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from mmkit.models.settings import warn_unknown_settings
from mmkit.ops import batched_nms, check_nms
from mmkit.structures import ImageMeta, Instances
from mmkit.utils.dist import reduce_mean


def flatten_level(output: Tensor, channels: int) -> Tensor:
    """(B, A*K, H, W) -> (B, H*W*A, K) with K = `channels`, in the order of the priors."""
    return output.permute(0, 2, 3, 1).reshape(output.shape[0], -1, channels)


def flatten_levels(outputs: Sequence[Tensor], channels: int) -> Tensor:
    """One (B, A*K, H, W) a level -> (B, N, K) over all levels with K = `channels`."""
    return torch.cat([flatten_level(output, channels) for output in outputs], dim=1)


def featmap_sizes(outputs: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(height, width) of every level."""
    return [(output.shape[-2], output.shape[-1]) for output in outputs]


def shared_factor(total: float | Tensor, like: Tensor, least: float = 1.0) -> Tensor:
    """What a loss is divided by: the mean of `total` over the processes, but not less than `least`."""
    return reduce_mean(torch.as_tensor(total, dtype=torch.float32, device=like.device)).clamp(min=least)


def centerness(distances: Tensor) -> Tensor:
    """(P,) how central a point is, 0 .. 1, from its (P, 4) distances to the left, top, right and bottom side."""
    near = torch.minimum(distances[:, :2], distances[:, 2:])
    far = torch.maximum(distances[:, :2], distances[:, 2:])
    return (near / far).prod(dim=1).sqrt()


@dataclass(frozen=True)
class PostProcessing:
    """A dense head's `test_cfg` (or an RPN's `rpn_proposal`).

    Attributes:
        nms_pre: candidates kept per level before NMS; -1 keeps all.
        score_thr: candidates must score above it.
        nms: arguments of `batched_nms`.
        max_per_img: detections kept per image; -1 keeps all.
        min_bbox_size: both sides of a detection must be at least this long (pixels); of a proposal, longer.
    """

    nms_pre: int = -1
    score_thr: float = 0.0
    nms: Mapping[str, Any] = field(default_factory=lambda: dict(type='nms', iou_threshold=0.5))
    max_per_img: int = -1
    min_bbox_size: float = -1

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any] | PostProcessing | None) -> PostProcessing:
        """Read a config dict; the spellings of mmdetection before 2.7 are understood with a warning."""
        if isinstance(cfg, PostProcessing):
            return cfg
        if cfg is None:
            raise ValueError('predicting needs a test_cfg, and this head was built without one')
        given = dict(cfg)
        old = {key: given.pop(key) for key in ('nms_thr', 'max_num', 'nms_post', 'nms_across_levels') if key in given}
        if old:
            warnings.warn(f'test_cfg keys {sorted(old)} are outdated: use nms and max_per_img', stacklevel=3)
            if old.get('nms_across_levels'):
                raise ValueError('nms_across_levels=True is not supported: NMS runs per level')
            if 'nms_thr' in old:
                given.setdefault('nms', dict(type='nms', iou_threshold=old['nms_thr']))
            if 'max_num' in old:
                given.setdefault('max_per_img', old['max_num'])
        known = {item.name for item in fields(cls)}
        warn_unknown_settings(given, known, 'test_cfg')
        check_nms(given.get('nms'))
        return cls(**{key: value for key, value in given.items() if key in known})


@dataclass
class Candidates:
    """The best (prior, class) pairs of one level; all tensors have K rows."""

    scores: Tensor  # (K,)
    labels: Tensor  # (K,)
    inds: Tensor  # (K,) which prior


def select_candidates(scores: Tensor, score_thr: float, nms_pre: int) -> Candidates:
    """The pairs of a level that score above `score_thr`, at most `nms_pre` of them, best first.

    Args:
        scores: (N, C) probabilities.
    """
    pairs = (scores > score_thr).nonzero()  # (M, 2)
    values = scores[pairs[:, 0], pairs[:, 1]]
    count = len(values) if nms_pre < 0 else min(nms_pre, len(values))
    values, order = values.sort(descending=True)
    inds, labels = pairs[order[:count]].unbind(1)
    return Candidates(values[:count], labels, inds)


def finish_predictions(
    bboxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    meta: ImageMeta,
    cfg: PostProcessing,
    rescale: bool,
) -> Instances:
    """Candidates of all levels of one image -> its detections, best first.

    Args:
        bboxes: (K, 4) in pixels of the network's input; with `rescale` the result is in those of the original image.
        scores: (K,), labels: (K,).
    """
    if rescale:
        bboxes = bboxes / bboxes.new_tensor(meta.scale_factor)
    if cfg.min_bbox_size > 0:  # 0 keeps even boxes that were clipped to a line
        keep = ((bboxes[:, 2:] - bboxes[:, :2]) >= cfg.min_bbox_size).all(dim=1)
        bboxes, scores, labels = bboxes[keep], scores[keep], labels[keep]
    if len(bboxes):
        dets, keep = batched_nms(bboxes, scores, labels, cfg.nms)
        bboxes, scores, labels = dets[:, :4], dets[:, 4], labels[keep]
        if cfg.max_per_img > 0:
            bboxes, scores, labels = (x[: cfg.max_per_img] for x in (bboxes, scores, labels))
    return Instances(bboxes=bboxes, labels=labels, scores=scores)


Decode = Callable[[int, Tensor, Tensor, tuple[int, int]], Tensor]
"""From a level, K of its priors (indices), their predictions (K, ...) and (height, width) to boxes (K, 4)."""


def detect(
    scores: Sequence[Tensor],
    preds: Sequence[Tensor],
    decode: Decode,
    metas: Sequence[ImageMeta],
    cfg: PostProcessing,
    rescale: bool,
    factors: Sequence[Tensor] | None = None,
) -> list[Instances]:
    """The detections of each image.

    Args:
        scores: (B, N_l, C) probabilities, one a level.
        preds: (B, N_l, ...) what boxes are made of, one a level.
        decode: makes boxes, only of those that score well.
        factors: (B, N_l), one a level: multiply the scores after candidates are chosen.
    """
    found = []
    for image, meta in enumerate(metas):
        bboxes, values, labels = [], [], []
        for level, level_scores in enumerate(scores):
            best = select_candidates(level_scores[image], cfg.score_thr, cfg.nms_pre)
            bboxes.append(decode(level, best.inds, preds[level][image][best.inds], meta.img_shape))
            values.append(best.scores if factors is None else best.scores * factors[level][image][best.inds])
            labels.append(best.labels)
        found.append(finish_predictions(torch.cat(bboxes), torch.cat(values), torch.cat(labels), meta, cfg, rescale))
    return found
