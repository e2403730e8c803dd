"""Assigners: they decide which prior is to predict which ground truth."""

from mmkit.bbox.assigners.atss import ATSSAssigner
from mmkit.bbox.assigners.base import BaseAssigner
from mmkit.bbox.assigners.center_region import CenterRegionAssigner, ShadowedAssignment
from mmkit.bbox.assigners.dynamic_soft_label import DynamicSoftLabelAssigner
from mmkit.bbox.assigners.grid import GridAssigner
from mmkit.bbox.assigners.hungarian import HungarianAssigner
from mmkit.bbox.assigners.max_iou import ApproxMaxIoUAssigner, MaxIoUAssigner
from mmkit.bbox.assigners.multi_instance import MultiInstanceAssigner, MultiInstanceAssignment
from mmkit.bbox.assigners.point import PointAssigner
from mmkit.bbox.assigners.sim_ota import SimOTAAssigner
from mmkit.bbox.assigners.task_aligned import AlignedAssignment, TaskAlignedAssigner
from mmkit.bbox.assigners.topk_hungarian import TopkHungarianAssigner
from mmkit.bbox.assigners.uniform import UniformAssigner, UniformAssignment

__all__ = [
    'ATSSAssigner',
    'AlignedAssignment',
    'ApproxMaxIoUAssigner',
    'BaseAssigner',
    'CenterRegionAssigner',
    'DynamicSoftLabelAssigner',
    'GridAssigner',
    'HungarianAssigner',
    'MaxIoUAssigner',
    'MultiInstanceAssigner',
    'MultiInstanceAssignment',
    'PointAssigner',
    'ShadowedAssignment',
    'SimOTAAssigner',
    'TaskAlignedAssigner',
    'TopkHungarianAssigner',
    'UniformAssigner',
    'UniformAssignment',
]
