"""From dense predictions to the detections of each image: selection of candidates, decoding, NMS."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from mmkit.config import ConfigDict
from mmkit.errors import InvalidValueError
from mmkit.models.settings import known_settings
from mmkit.ops import batched_nms, check_nms
from mmkit.registry import Cfg, located
from mmkit.structures import ImageMeta, Instances


@dataclass(frozen=True)
class PostProcessing:
    """`test_cfg` of a dense head, or `rpn_proposal` of a two-stage detector.

    Attributes:
        nms_pre: candidates kept per level before NMS; -1 keeps all.
        score_thr: candidates must score above it.
        nms: arguments of `batched_nms`.
        nms_post: proposals kept per level after NMS; -1 keeps all.
        max_per_img: detections kept per image; -1 keeps all.
        min_bbox_size: both sides of a detection must be at least this long (pixels), but 0 keeps even boxes that were
            clipped to a line; of a proposal, longer.
        strict_min_size: both sides of a detection must be longer than `min_bbox_size`, too, unless that is negative.
    """

    nms_pre: int = -1
    score_thr: float = 0.0
    nms: Cfg = field(default_factory=lambda: dict(type='nms', iou_threshold=0.5))
    nms_post: int = -1
    max_per_img: int = -1
    min_bbox_size: float = -1
    strict_min_size: bool = False

    @classmethod
    def from_cfg(cls, cfg: Cfg | PostProcessing | None) -> Self:
        """Read a config dict; the spellings of mmdetection before 2.7 are understood with a warning."""
        if isinstance(cfg, cls):
            return cfg
        if cfg is None:
            raise InvalidValueError('prediction needs a test_cfg, and this head was built without one', key='test_cfg')
        given = cfg if isinstance(cfg, Mapping) else vars(cfg)
        with located(given):
            settings = cls(**known_settings(_current_spelling(given), cls, 'test_cfg'))
            with located(given, 'nms'), located(settings.nms or {}):
                check_nms(settings.nms)
        return settings


def _current_spelling(cfg: Cfg) -> dict[str, Any]:
    """A `test_cfg` in which keys of mmdetection before 2.7 are replaced by those of today."""
    current = cfg.copy() if isinstance(cfg, ConfigDict) else dict(cfg)
    outdated = ('nms_thr', 'max_num', 'nms_across_levels')
    old = {key: current.pop(key) for key in outdated if key in current}
    if old:
        warnings.warn(f'test_cfg keys {sorted(old)} are outdated: use nms and max_per_img', stacklevel=4)
    if old.get('nms_across_levels'):
        raise InvalidValueError('nms_across_levels=True is not supported: NMS runs per level', key='nms_across_levels')
    if 'nms_thr' in old:
        current.setdefault('nms', dict(type='nms', iou_threshold=old['nms_thr']))
    if 'max_num' in old:
        current.setdefault('max_per_img', old['max_num'])
    return current


class LevelPredictions(NamedTuple):
    """Predictions of one pyramid level with N priors for B images.

    Attributes:
        scores: (B, N, C) probabilities.
        box_preds: (B, N, K) raw predictions of boxes.
        priors: (N, P) that the boxes are predicted from, in pixels.
        factors: (B, N), such as centerness: they multiply the scores of candidates after these were selected.
    """

    scores: Tensor
    box_preds: Tensor
    priors: Tensor
    factors: Tensor | None = None

    @property
    def final_scores(self) -> Tensor:
        """(B, N, C) scores times factors."""
        return self.scores if self.factors is None else self.scores * self.factors[..., None]


class Candidates(NamedTuple):
    """The K best pairs of prior and class of one level."""

    scores: Tensor  # (K,)
    labels: Tensor  # (K,)
    inds: Tensor  # (K,) of the prior


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


def best_priors(level: LevelPredictions, nms_pre: int) -> LevelPredictions:
    """The level with scores of -1 for all but the `nms_pre` priors of each image whose best class scores highest.

    All stay if there are no more, or if `nms_pre` is not above 0.
    """
    if not 0 < nms_pre < level.scores.shape[1]:
        return level
    best = level.scores.amax(dim=2).topk(nms_pre, dim=1).indices  # (B, nms_pre)
    others = torch.ones(level.scores.shape[:2], dtype=torch.bool, device=best.device).scatter(1, best, False)
    return level._replace(scores=level.scores.masked_fill(others[..., None], -1))


@dataclass
class PriorInstances(Instances):
    """Detections, each with the prior that it was predicted from.

    Attributes:
        prior_inds: (N,) int64, among the priors of all levels.
    """

    prior_inds: Tensor | None = None


InstancesT = TypeVar('InstancesT', bound=Instances)


def finish_predictions(candidates: InstancesT, meta: ImageMeta, cfg: PostProcessing, rescale: bool) -> InstancesT:
    """Detections of one image from the candidates of all levels, best first.

    Args:
        candidates: with labels and scores; boxes in pixels of the network's input. With `rescale` the result is in
            those of the original image.
    """
    if rescale:
        moved = (
            candidates.bboxes - candidates.bboxes.new_tensor(meta.border * 2) if any(meta.border) else candidates.bboxes
        )
        candidates = replace(candidates, bboxes=moved / moved.new_tensor(meta.scale_factor))
    if cfg.min_bbox_size > 0 or (cfg.strict_min_size and cfg.min_bbox_size == 0):
        sides = candidates.bboxes[:, 2:] - candidates.bboxes[:, :2]  # (K, 2)
        large = sides > cfg.min_bbox_size if cfg.strict_min_size else sides >= cfg.min_bbox_size
        candidates = candidates[large.all(dim=1)]
    if not len(candidates):
        return candidates
    assert candidates.scores is not None and candidates.labels is not None
    dets, keep = batched_nms(candidates.bboxes, candidates.scores, candidates.labels, cfg.nms)
    detections = replace(candidates[keep], bboxes=dets[:, :4], scores=dets[:, 4])  # soft NMS changes scores
    return detections[: cfg.max_per_img] if cfg.max_per_img > 0 else detections


DecodeBoxes = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]
"""From priors (K, P), their raw predictions (K, ...) and the image's (height, width) to boxes (K, 4)."""


def detect(
    levels: Sequence[LevelPredictions],
    decode_boxes: DecodeBoxes,
    metas: Sequence[ImageMeta],
    cfg: PostProcessing,
    rescale: bool,
) -> list[Instances]:
    """Detections of each image; only the boxes of candidates are decoded."""
    detections = detect_with_priors(levels, decode_boxes, metas, cfg, rescale=rescale)
    return [Instances(bboxes=each.bboxes, labels=each.labels, scores=each.scores) for each in detections]


def detect_with_priors(
    levels: Sequence[LevelPredictions],
    decode_boxes: DecodeBoxes,
    metas: Sequence[ImageMeta],
    cfg: PostProcessing,
    rescale: bool,
) -> list[PriorInstances]:
    """As `detect`, for heads that predict more than a box from a prior."""
    return [
        finish_predictions(best_of_levels(levels, decode_boxes, image, meta, cfg), meta, cfg, rescale=rescale)
        for image, meta in enumerate(metas)
    ]


def best_of_levels(
    levels: Sequence[LevelPredictions], decode_boxes: DecodeBoxes, image: int, meta: ImageMeta, cfg: PostProcessing
) -> PriorInstances:
    """Candidates of one image, in pixels of the network's input: the best of each level, before NMS."""
    candidates, first = [], 0
    for level in levels:
        best = select_candidates(level.scores[image], cfg.score_thr, cfg.nms_pre)
        factors = 1.0 if level.factors is None else level.factors[image][best.inds]
        candidates.append(
            PriorInstances(
                bboxes=decode_boxes(level.priors[best.inds], level.box_preds[image][best.inds], meta.img_shape),
                labels=best.labels,
                scores=best.scores * factors,
                prior_inds=first + best.inds,
            )
        )
        first += len(level.priors)
    return PriorInstances.cat(candidates)
