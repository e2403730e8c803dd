"""Metrics of image classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

AVERAGES = ('macro', 'none')


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, topk: Sequence[int] = (1,)) -> dict[str, float]:
    """Share of images whose label is among the k best scores, in percent.

    Args:
        scores: (N, C)
        labels: (N,)
        topk: values of k, at most C.

    Returns:
        `accuracy_top-1`, ...

    Raises:
        ValueError: if a k is larger than the number of classes.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if max(topk) > scores.shape[1]:
        raise ValueError(f'top-{max(topk)} accuracy of {scores.shape[1]} classes')
    ranks = np.argsort(-scores, axis=1, kind='stable')
    hits = ranks[:, : max(topk)] == labels[:, None]  # (N, k)
    return {f'accuracy_top-{k}': 100.0 * float(hits[:, :k].any(axis=1).mean()) if len(labels) else 0.0 for k in topk}


def precision_recall_f1(scores: np.ndarray, labels: np.ndarray, average_mode: str = 'macro') -> dict[str, np.ndarray]:
    """Precision, recall and f1 score of the best class, in percent, and the support.

    Args:
        scores: (N, C)
        labels: (N,)
        average_mode: 'macro' for the mean over classes, 'none' for a value a class.

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
    hits = np.bincount(labels[predicted == labels], minlength=num_classes)
    support = np.bincount(labels, minlength=num_classes)
    precision = 100.0 * hits / np.maximum(np.bincount(predicted, minlength=num_classes), 1)
    recall = 100.0 * hits / np.maximum(support, 1)
    f1_score = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float32).eps)
    values = dict(precision=precision, recall=recall, f1_score=f1_score)
    if average_mode == 'macro':
        return {**{name: np.asarray(value.mean()) for name, value in values.items()}, 'support': support.sum()}
    return {**values, 'support': support}
