"""Whole detectors."""

from mmkit.models.detectors.base import Detector
from mmkit.models.detectors.single_stage import RetinaNet, SingleStageDetector
from mmkit.models.detectors.two_stage import RPN, FasterRCNN, FastRCNN, MaskRCNN, TwoStageDetector

__all__ = [
    'RPN',
    'Detector',
    'FastRCNN',
    'FasterRCNN',
    'MaskRCNN',
    'RetinaNet',
    'SingleStageDetector',
    'TwoStageDetector',
]
