"""Non-maximum suppression: hard, soft, and per class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor

from mmkit.errors import InvalidTypeError, InvalidValueError

Suppress = Callable[..., tuple[Tensor, Tensor]]
SOFT_METHODS = ('naive', 'linear', 'gaussian')


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0.0,
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """Greedy suppression of the boxes that overlap a better one by more than `iou_threshold`.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: a box is dropped when its IoU with a better kept one is above this.
        offset: 1 if the last pixel belongs to the box (width = x2 - x1 + 1), else 0.
        score_threshold: when positive, boxes that do not score above it are ignored.
        max_num: keep at most this many; -1 is no limit.

    Returns:
        dets (K, 5) with the score in the last column, best first, and their indices (K,) into `boxes`.
    """
    if offset not in (0, 1):
        raise InvalidValueError(f'nms: offset is 0 or 1, got {offset!r}', key='offset')
    extent = torch.stack([boxes[:, 0], boxes[:, 1], boxes[:, 2] + offset, boxes[:, 3] + offset], 1) if offset else boxes
    if score_threshold > 0:
        valid = (scores > score_threshold).nonzero().squeeze(1)
        keep = valid[_hard_nms(extent[valid], scores[valid], iou_threshold)]
    else:
        keep = _hard_nms(extent, scores, iou_threshold)
    if max_num > 0:
        keep = keep[:max_num]
    return torch.cat([boxes[keep], scores[keep, None]], 1), keep


def _hard_nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    # This sort breaks ties between equal scores as mmcv does; torchvision alone would keep the given order.
    ordered, order = scores.float().sort(descending=True)
    keep: Tensor = order[torchvision.ops.nms(boxes.float()[order], ordered, iou_threshold)]
    return keep


def nms_match(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """(N,) number of the group of each box: those that the same box suppresses in `nms`, and this one.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: as of `nms`.
    """
    keep = _hard_nms(boxes, scores, iou_threshold)  # (K,) best first
    if not len(keep):
        return keep
    numbers = torch.arange(len(keep), device=boxes.device)
    overlapping = torchvision.ops.box_iou(boxes, boxes[keep]) > iou_threshold  # (N, K)
    groups = torch.where(overlapping, numbers, len(keep)).amin(dim=1)
    groups[keep] = numbers
    return groups


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    offset: int = 0,
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS (arXiv:1704.04503): overlapping boxes lose score instead of being dropped.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: overlap from which 'naive' and 'linear' act.
        sigma: width of the 'gaussian' decay exp(-iou^2 / sigma).
        min_score: boxes whose decayed score is below this are dropped.
        method: 'naive' (score 0), 'linear' (score x (1 - iou)) or 'gaussian'.
        offset: 1 if the last pixel belongs to the box, else 0.
        max_num: keep at most this many; -1 is no limit.

    Returns:
        dets (K, 5) with the decayed score in the last column, best first, and their indices (K,) into `boxes`.
    """
    if method not in SOFT_METHODS:
        raise InvalidValueError(f'soft_nms: method is one of {SOFT_METHODS}, got {method!r}', key='method')
    left = torch.arange(len(boxes), device=boxes.device)  # indices of the remaining boxes
    extent, decayed = boxes.detach().float(), scores.detach().float()
    picks: list[Tensor] = []
    picked_scores: list[Tensor] = []
    while len(left) and (max_num <= 0 or len(picks) < max_num):
        best = int(decayed.argmax())
        picks.append(left[best])
        picked_scores.append(decayed[best])
        iou = _iou_of_one(extent[best], extent, offset)
        decayed = decayed * _decay(iou, method, iou_threshold, sigma)
        remain = decayed >= min_score
        remain[best] = False
        left, extent, decayed = left[remain], extent[remain], decayed[remain]
    if not picks:
        return boxes.new_zeros(0, 5), left
    keep = torch.stack(picks)
    return torch.cat([boxes[keep], torch.stack(picked_scores).to(boxes)[:, None]], 1), keep


def _decay(iou: Tensor, method: str, iou_threshold: float, sigma: float) -> Tensor:
    if method == 'gaussian':
        return torch.exp(-iou * iou / sigma)
    weight = torch.zeros_like(iou) if method == 'naive' else 1 - iou
    return torch.where(iou >= iou_threshold, weight, torch.ones_like(iou))


def _iou_of_one(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """IoU (N,) of one box (4,) with boxes (N, 4)."""
    size = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]) + offset).clamp(min=0)
    inter = size[:, 0] * size[:, 1]
    areas = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    return inter / ((box[2:] - box[:2] + offset).prod() + areas - inter).clamp(min=1e-9)


_BATCHED_KEYS = ('iou_thr', 'class_agnostic', 'split_thr')
_SUPPRESSORS: dict[str, tuple[Suppress, tuple[str, ...]]] = {
    'nms': (nms, ('iou_threshold', 'offset', 'score_threshold', 'max_num')),
    'soft_nms': (soft_nms, ('iou_threshold', 'sigma', 'min_score', 'method', 'offset', 'max_num')),
}


def check_nms(nms_cfg: Mapping[str, Any] | None) -> None:
    """Check an `nms_cfg` before there are boxes.

    Raises:
        InvalidValueError: its `type` is unknown.
        InvalidTypeError: it is no dict, an argument is unknown, or the threshold is no number.
    """
    if not isinstance(nms_cfg or {}, Mapping):
        raise InvalidTypeError(f"nms is a dict such as dict(type='nms', iou_threshold=0.5), got {nms_cfg!r}", key='nms')
    cfg = dict(nms_cfg or {})
    kind = cfg.pop('type', 'nms')
    if kind not in _SUPPRESSORS:
        raise InvalidValueError(f"nms_cfg: type is 'nms' or 'soft_nms', got {kind!r}", key='type')
    known = (*_SUPPRESSORS[kind][1], *_BATCHED_KEYS)
    for key in cfg:
        if key not in known:
            raise InvalidTypeError(f'{kind} has no argument {key!r}, it takes {", ".join(known)}', key=key)
        if key in ('iou_threshold', 'iou_thr') and not isinstance(cfg[key], (int, float)):
            raise InvalidTypeError(f'{key} of {kind} is a number, got {cfg[key]!r}', key=key)


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: Mapping[str, Any] | None, class_agnostic: bool = False
) -> tuple[Tensor, Tensor]:
    """NMS among boxes of the same class (or image, or level) only.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        idxs: (N,) class of each box; boxes of different classes never suppress each other.
        nms_cfg: `type` ('nms' or 'soft_nms'), the arguments of that function, `class_agnostic`, and `split_thr`: from
            this many boxes on, classes are treated one by one to save memory (default 10000). `iou_thr` is the older
            name of `iou_threshold`. None only sorts by score.
        class_agnostic: ignore `idxs`.

    Returns:
        dets (K, 5) with the score in the last column, best first, and their indices (K,) into `boxes`.
    """
    if nms_cfg is None:
        scores, keep = scores.sort(descending=True)
        return torch.cat([boxes[keep], scores[:, None]], 1), keep
    check_nms(nms_cfg)
    cfg = dict(nms_cfg)
    suppress, _ = _SUPPRESSORS[cfg.pop('type', 'nms')]
    if 'iou_thr' in cfg:
        cfg['iou_threshold'] = cfg.pop('iou_thr')
    class_agnostic = cfg.pop('class_agnostic', class_agnostic)
    split_thr = cfg.pop('split_thr', 10000)
    if len(boxes) == 0:
        return torch.cat([boxes, scores[:, None]], 1), idxs.new_zeros(0)
    if class_agnostic:
        apart = boxes
    else:  # shifted by class, so that boxes of two classes cannot overlap
        apart = boxes + (idxs.to(boxes) * (boxes.max() + 1))[:, None]
    if len(boxes) < split_thr:
        dets, keep = suppress(apart, scores, **cfg)
        return torch.cat([boxes[keep], dets[:, 4:]], 1), keep
    groups = torch.zeros_like(idxs) if class_agnostic else idxs
    return _nms_by_group(boxes, apart, scores, groups, suppress=suppress, cfg=cfg)


def _nms_by_group(
    boxes: Tensor, apart: Tensor, scores: Tensor, idxs: Tensor, suppress: Suppress, cfg: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """NMS of one group (class, image or level) at a time."""
    max_num = cfg.pop('max_num', -1)
    kept, kept_scores = [], []
    for index in torch.unique(idxs):
        members = (idxs == index).nonzero().squeeze(1)
        dets, keep = suppress(apart[members], scores[members], **cfg)
        kept.append(members[keep])
        kept_scores.append(dets[:, 4])
    ordered, order = torch.cat(kept_scores).sort(descending=True)
    keep = torch.cat(kept)[order]
    if max_num > 0:
        keep, ordered = keep[:max_num], ordered[:max_num]
    return torch.cat([boxes[keep], ordered[:, None]], 1), keep


def set_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, sets: Tensor, iou_threshold: float) -> Tensor:
    """NMS in which boxes of one set don't suppress each other (arXiv:2003.09163).

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        idxs: (N,) class of each box; boxes of different classes never suppress each other.
        sets: (N,) such as the proposal that a box comes from.
        iou_threshold: a box is dropped when its IoU with a better kept one of another set is above this.

    Returns:
        Ascending indices (K,) of the boxes that are kept.
    """
    order = scores.argsort(descending=True, stable=True)
    rivals = torchvision.ops.box_iou(boxes[order].float(), boxes[order].float()) > iou_threshold
    rivals &= (idxs[order, None] == idxs[order]) & (sets[order, None] != sets[order])
    kept = torch.ones(len(boxes), dtype=torch.bool)
    for number, row in enumerate(rivals.cpu()):  # one transfer: reading row by row would make the GPU wait
        if kept[number]:
            kept[number + 1 :] &= ~row[number + 1 :]
    return order[kept.to(order.device)].sort().values
