"""Boxes: priors, assigners, samplers, coders, overlaps. Tensors in, tensors out."""

from mmkit.bbox import assigners, coders, priors, samplers
from mmkit.bbox.boxes import (
    bbox2distance,
    bbox_centers,
    clip_bboxes,
    cxcywh_to_xyxy,
    distance2bbox,
    project_bboxes,
    scale_bboxes,
    xyxy_to_cxcywh,
)
from mmkit.bbox.iou import BboxOverlaps2D, bbox_overlaps
from mmkit.bbox.post_processing import multiclass_nms
from mmkit.structures import Assignment, SamplingResult

__all__ = [
    'Assignment',
    'BboxOverlaps2D',
    'SamplingResult',
    'assigners',
    'bbox2distance',
    'bbox_centers',
    'bbox_overlaps',
    'clip_bboxes',
    'coders',
    'cxcywh_to_xyxy',
    'distance2bbox',
    'multiclass_nms',
    'priors',
    'project_bboxes',
    'samplers',
    'scale_bboxes',
    'xyxy_to_cxcywh',
]
