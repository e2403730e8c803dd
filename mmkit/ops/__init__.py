"""Thin faces on torchvision.ops with the arguments mmdetection configs use."""

from mmkit.ops.deform_conv import deform_conv2d
from mmkit.ops.deform_roi_pool import DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool
from mmkit.ops.focal_loss import sigmoid_focal_loss
from mmkit.ops.nms import batched_nms, check_nms, nms, soft_nms
from mmkit.ops.roi_pool import RoIAlign, RoIPool

__all__ = [
    'DeformRoIPoolPack',
    'ModulatedDeformRoIPoolPack',
    'RoIAlign',
    'RoIPool',
    'batched_nms',
    'check_nms',
    'deform_conv2d',
    'deform_roi_pool',
    'nms',
    'sigmoid_focal_loss',
    'soft_nms',
]
