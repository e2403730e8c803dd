"""Whole detectors."""

from mmkit.models.detectors.base import Detector
from mmkit.models.detectors.single_stage import RetinaNet, SingleStageDetector
from mmkit.models.detectors.two_stage import (
    RPN,
    CascadeRCNN,
    FasterRCNN,
    FastRCNN,
    HybridTaskCascade,
    MaskRCNN,
    TwoStageDetector,
)

__all__ = [
    'RPN',
    'CascadeRCNN',
    'Detector',
    'FastRCNN',
    'FasterRCNN',
    'HybridTaskCascade',
    'MaskRCNN',
    'RetinaNet',
    'SingleStageDetector',
    'TwoStageDetector',
]
