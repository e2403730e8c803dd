"""Whole detectors."""

from mmkit.models.detectors.base import Detector
from mmkit.models.detectors.detr import DETR, DeformableDETR
from mmkit.models.detectors.single_stage import ATSS, FCOS, GFL, YOLOV3, RetinaNet, SingleStageDetector
from mmkit.models.detectors.two_stage import (
    RPN,
    CascadeRCNN,
    FasterRCNN,
    FastRCNN,
    HybridTaskCascade,
    MaskRCNN,
    TwoStageDetector,
)
from mmkit.models.detectors.yolox import YOLOX

__all__ = [
    'ATSS',
    'DETR',
    'FCOS',
    'GFL',
    'RPN',
    'YOLOV3',
    'YOLOX',
    'CascadeRCNN',
    'DeformableDETR',
    'Detector',
    'FastRCNN',
    'FasterRCNN',
    'HybridTaskCascade',
    'MaskRCNN',
    'RetinaNet',
    'SingleStageDetector',
    'TwoStageDetector',
]
