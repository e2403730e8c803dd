"""Assigners: which prior looks for which ground truth."""

from mmkit.bbox.assigners.assignment import Assignment
from mmkit.bbox.assigners.max_iou import MaxIoUAssigner

__all__ = [
    'Assignment',
    'MaxIoUAssigner',
]
