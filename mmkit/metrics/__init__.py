"""Metrics: objects that take in predictions batch by batch and give figures of the whole dataset."""

from mmkit.metrics.base import DatasetMetric, check_num_outputs, compute_metrics
from mmkit.metrics.classification import ClassificationMetric
from mmkit.metrics.coco import CocoMetric
from mmkit.metrics.coco_results import to_coco_json, write_coco_results
from mmkit.metrics.composed import EvaluateMetric, EvaluatesItself, PartsMetric
from mmkit.metrics.crowd_human import CrowdHumanMetric
from mmkit.metrics.lvis import LVISMetric
from mmkit.metrics.voc import VOCMetric

__all__ = [
    'ClassificationMetric',
    'CocoMetric',
    'CrowdHumanMetric',
    'DatasetMetric',
    'EvaluateMetric',
    'EvaluatesItself',
    'LVISMetric',
    'PartsMetric',
    'VOCMetric',
    'check_num_outputs',
    'compute_metrics',
    'to_coco_json',
    'write_coco_results',
]
