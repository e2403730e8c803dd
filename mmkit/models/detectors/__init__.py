"""Whole detectors."""

from mmkit.models.detectors.base import Detector
from mmkit.models.detectors.detr import DETR
from mmkit.models.detectors.rpn import RPN
from mmkit.models.detectors.semi import SemiBaseDetector
from mmkit.models.detectors.single_stage import SingleStageDetector
from mmkit.models.detectors.soft_teacher import SoftTeacher
from mmkit.models.detectors.two_stage import TwoStageDetector
from mmkit.models.detectors.yolox import YOLOX

__all__ = [
    'DETR',
    'RPN',
    'YOLOX',
    'Detector',
    'SemiBaseDetector',
    'SingleStageDetector',
    'SoftTeacher',
    'TwoStageDetector',
]
