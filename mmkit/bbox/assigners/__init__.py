"""Assigners: which prior looks for which ground truth."""

from mmkit.bbox.assigners.assignment import Assignment
from mmkit.bbox.assigners.atss import ATSSAssigner
from mmkit.bbox.assigners.grid import GridAssigner
from mmkit.bbox.assigners.hungarian import HungarianAssigner
from mmkit.bbox.assigners.max_iou import MaxIoUAssigner
from mmkit.bbox.assigners.sim_ota import SimOTAAssigner

__all__ = [
    'ATSSAssigner',
    'Assignment',
    'GridAssigner',
    'HungarianAssigner',
    'MaxIoUAssigner',
    'SimOTAAssigner',
]
