"""Metrics of image classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.utils.names import nearest

AVERAGES = ('macro', 'none')
METRICS = ('accuracy', 'precision', 'recall', 'f1_score', 'support')
OPTIONS = ('topk', 'thrs', 'average_mode')


def top_k_accuracy(
    scores: np.ndarray, labels: np.ndarray, topk: Sequence[int] = (1,), thr: float | None = None
) -> dict[str, float]:
    """Share of images whose label is among the k best scores, in percent.

    Args:
        scores: (N, C)
        labels: (N,)
        topk: values of k, at most C.
        thr: scores must be above this to count.

    Returns:
        `accuracy_top-1`, ...

    Raises:
        ValueError: if a k is larger than the number of classes.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if max(topk) > scores.shape[1]:
        raise ValueError(f'top-{max(topk)} accuracy of {scores.shape[1]} classes')
    ranks = np.argsort(-scores, axis=1, kind='stable')[:, : max(topk)]
    hits = ranks == labels[:, None]  # (N, k)
    if thr is not None:
        hits &= np.take_along_axis(scores, ranks, axis=1) > thr
    return {f'accuracy_top-{k}': 100.0 * float(hits[:, :k].any(axis=1).mean()) if len(labels) else 0.0 for k in topk}


def precision_recall_f1(
    scores: np.ndarray, labels: np.ndarray, average_mode: str = 'macro', thr: float | None = None
) -> dict[str, np.ndarray]:
    """Precision, recall and f1 score of the best class, in percent, and the support.

    Args:
        scores: (N, C)
        labels: (N,)
        average_mode: 'macro' for the mean over classes, 'none' for a value a class.
        thr: images whose best score is not above this are of no class.

    Returns:
        `precision`, `recall`, `f1_score`, `support`, each () or (C,).

    Raises:
        ValueError: for another average mode.
    """
    if average_mode not in AVERAGES:
        raise ValueError(f'unknown average_mode {average_mode!r}; there are: {", ".join(AVERAGES)}')
    scores, labels = np.asarray(scores), np.asarray(labels)
    num_classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    sure = np.ones(len(labels), dtype=bool) if thr is None else scores.max(axis=1) > thr
    hits = np.bincount(labels[sure & (predicted == labels)], minlength=num_classes)
    support = np.bincount(labels, minlength=num_classes)
    precision = 100.0 * hits / np.maximum(np.bincount(predicted[sure], minlength=num_classes), 1)
    recall = 100.0 * hits / np.maximum(support, 1)
    f1_score = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float32).eps)
    values = dict(precision=precision, recall=recall, f1_score=f1_score)
    if average_mode == 'macro':
        return {**{name: np.asarray(value.mean()) for name, value in values.items()}, 'support': support.sum()}
    return {**values, 'support': support}


def evaluate_scores(
    scores: np.ndarray,
    labels: np.ndarray,
    metric: str | Sequence[str] = 'accuracy',
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, float]:
    """The metrics that a config asks for, by mmclassification's names.

    Args:
        scores: (N, C)
        labels: (N,) below C.
        metric: one or several of `METRICS`.
        options: `topk`, a k (`accuracy`) or several (`accuracy_top-1`, ...), by default 1 and, with so many classes, 5;
            `thrs`, a score that counts only if it is exceeded, or several (`..._thr_0.50`);
            `average_mode`, 'macro' for means over classes, 'none' for a value a class (`precision_cat`).
        classes: names of the labels, for 'none'.

    Raises:
        ValueError: for an unknown metric or option, or labels without scores.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    options = dict(options or {})
    _check_known('metric', names, METRICS)
    _check_known('metric option', list(options), OPTIONS)
    num_classes = scores.shape[1]
    if len(labels) and labels.max() >= num_classes:
        raise ValueError(f'label {labels.max()} with scores of {num_classes} classes: is num_classes too small?')
    topk, thrs = options.get('topk', tuple(k for k in (1, 5) if k <= num_classes)), options.get('thrs')
    several = isinstance(thrs, (list, tuple))
    values: dict[str, float] = {}
    for thr in thrs if several else [thrs]:  # type: ignore[union-attr]
        suffix = f'_thr_{thr:.2f}' if several else ''
        found: dict[str, Any] = {}
        if 'accuracy' in names:
            found |= _accuracy(scores, labels, topk, thr)
        if set(names) - {'accuracy'}:
            per_class = precision_recall_f1(scores, labels, options.get('average_mode', 'macro'), thr)
            found |= {name: per_class[name] for name in METRICS[1:] if name in names}
        for name, value in found.items():
            if np.ndim(value):
                own = classes or range(num_classes)
                values |= {f'{name}_{each}{suffix}': float(number) for each, number in zip(own, value)}
            else:
                values[name if name == 'support' else name + suffix] = float(value)
    return values


def _accuracy(scores: np.ndarray, labels: np.ndarray, topk: int | Sequence[int], thr: float | None) -> dict[str, float]:
    if isinstance(topk, int):
        return {'accuracy': top_k_accuracy(scores, labels, (topk,), thr)[f'accuracy_top-{topk}']}
    return top_k_accuracy(scores, labels, topk, thr)


def _check_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = nearest(name, known, 1)
            hint = f', did you mean {near[0]!r}?' if near else ';'
            raise ValueError(f'unknown {what} {name!r}{hint} There are: {", ".join(known)}')
