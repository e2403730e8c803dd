"""Losses: `loss(pred, target, weight=None, avg_factor=None, reduction_override=None)`."""

from mmkit.models.losses.accuracy import accuracy
from mmkit.models.losses.balanced_l1 import BalancedL1Loss
from mmkit.models.losses.cross_entropy import CrossEntropyLoss
from mmkit.models.losses.dice import DiceLoss
from mmkit.models.losses.distillation import KnowledgeDistillationKLDivLoss
from mmkit.models.losses.focal import FocalLoss
from mmkit.models.losses.gaussian_focal import GaussianFocalLoss
from mmkit.models.losses.ghm import GHMC, GHMR
from mmkit.models.losses.iou import BoundedIoULoss, CIoULoss, DIoULoss, GIoULoss, IoULoss
from mmkit.models.losses.label_smooth import LabelSmoothLoss
from mmkit.models.losses.quality import DistributionFocalLoss, QualityFocalLoss, VarifocalLoss
from mmkit.models.losses.reduction import Loss, is_dense, loss_by_level, uses_sigmoid, weight_reduce_loss
from mmkit.models.losses.regression import L1Loss, MSELoss, SmoothL1Loss
from mmkit.models.losses.seesaw import SeesawLoss

__all__ = [
    'GHMC',
    'GHMR',
    'BalancedL1Loss',
    'BoundedIoULoss',
    'CIoULoss',
    'CrossEntropyLoss',
    'DIoULoss',
    'DiceLoss',
    'DistributionFocalLoss',
    'FocalLoss',
    'GIoULoss',
    'GaussianFocalLoss',
    'IoULoss',
    'KnowledgeDistillationKLDivLoss',
    'L1Loss',
    'LabelSmoothLoss',
    'Loss',
    'MSELoss',
    'QualityFocalLoss',
    'SeesawLoss',
    'SmoothL1Loss',
    'VarifocalLoss',
    'accuracy',
    'is_dense',
    'loss_by_level',
    'uses_sigmoid',
    'weight_reduce_loss',
]
