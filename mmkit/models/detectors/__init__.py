"""Whole detectors."""

from mmkit.models.detectors.base import Detector
from mmkit.models.detectors.condinst import CondInst
from mmkit.models.detectors.ddq_detr import DDQDETR
from mmkit.models.detectors.deformable_detr import DeformableDETR
from mmkit.models.detectors.detr import DABDETR, DETR
from mmkit.models.detectors.dino import DINO
from mmkit.models.detectors.rpn import RPN
from mmkit.models.detectors.rtmdet import RTMDet
from mmkit.models.detectors.semi import SemiBaseDetector
from mmkit.models.detectors.single_stage import SingleStageDetector
from mmkit.models.detectors.soft_teacher import SoftTeacher
from mmkit.models.detectors.two_stage import TwoStageDetector
from mmkit.models.detectors.yolox import YOLOX

__all__ = [
    'DABDETR',
    'DDQDETR',
    'DETR',
    'DINO',
    'RPN',
    'YOLOX',
    'CondInst',
    'DeformableDETR',
    'Detector',
    'RTMDet',
    'SemiBaseDetector',
    'SingleStageDetector',
    'SoftTeacher',
    'TwoStageDetector',
]
