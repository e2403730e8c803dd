"""Metrics of image classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.evaluation.options import check_counts, check_names, check_thresholds

AVERAGES = ('macro', 'none')
METRIC_NAMES = ('accuracy', 'precision', 'recall', 'f1_score', 'support')
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
        InvalidValueError: if a k is larger than the number of classes.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if max(topk) > scores.shape[1]:
        raise InvalidValueError(f'top-{max(topk)} accuracy of {scores.shape[1]} classes')
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
        average_mode: 'macro' for the mean over classes, 'none' for a value of each class.
        thr: images whose best score is not above this are of no class.

    Returns:
        `precision`, `recall`, `f1_score`, `support`, each () or (C,).

    Raises:
        InvalidValueError: for another average mode.
    """
    check_names('average_mode', average_mode, AVERAGES, 'average_mode')
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


def check_score_metrics(
    metric: str | Sequence[str], options: Mapping[str, Any] | None, num_classes: int | None
) -> list[str]:
    """The metrics as a list.

    Args:
        metric, options: see `evaluate_scores`.
        num_classes: None if nobody knows it yet.

    Raises:
        InvalidValueError: for an unknown metric, or a wrong option.
    """
    options = options or {}
    names = check_names('metric', metric, METRIC_NAMES, 'metric')
    check_names('metric option', list(options), OPTIONS, 'metric_options')
    if options.get('topk') is not None:
        topk = options['topk']
        most = max(check_counts([topk] if isinstance(topk, int) else topk, 'metric_options.topk'))
        if num_classes is not None and most > num_classes:
            raise InvalidValueError(f'top-{most} accuracy of {num_classes} classes', key='metric_options')
    if options.get('thrs') is not None:
        thrs = options['thrs']
        given = [thr for thr in thrs if thr is not None] if isinstance(thrs, (list, tuple)) else thrs
        check_thresholds(given, 'metric_options.thrs')
    check_names('average_mode', options.get('average_mode', 'macro'), AVERAGES, 'metric_options')
    return names


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
        metric: one or several of `METRIC_NAMES`.
        options: `topk`, a k (`accuracy`) or several (`accuracy_top-1`, ...), by default 1 and, with so many classes, 5;
            `thrs`, a score that counts only if it is exceeded, or several (`..._thr_0.50`);
            `average_mode`, 'macro' for means over classes, 'none' for a value of each class (`precision_cat`).
        classes: names of the labels, for 'none'.

    Raises:
        InvalidValueError: for an unknown metric, a wrong option, or labels without scores.
    """
    num_classes = scores.shape[1]
    names = check_score_metrics(metric, options, num_classes)
    options = dict(options or {})
    if len(labels) and labels.max() >= num_classes:
        raise InvalidValueError(f'label {labels.max()} with scores of {num_classes} classes: is num_classes too small?')
    topk, thrs = options.get('topk', tuple(k for k in (1, 5) if k <= num_classes)), options.get('thrs')
    values: dict[str, float] = {}
    for thr in thrs if isinstance(thrs, (list, tuple)) else [thrs]:
        suffix = f'_thr_{thr:.2f}' if isinstance(thrs, (list, tuple)) and thr is not None else ''
        figures: dict[str, Any] = {}
        if 'accuracy' in names:
            figures |= _accuracy(scores, labels, topk, thr)
        if set(names) - {'accuracy'}:
            per_class = precision_recall_f1(scores, labels, options.get('average_mode', 'macro'), thr)
            figures |= {name: per_class[name] for name in METRIC_NAMES[1:] if name in names}
        for name, value in figures.items():
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
