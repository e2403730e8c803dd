"""Operators on boxes and feature maps, with the arguments of mmdetection's configs; most call torchvision.ops."""

from mmkit.ops.deform_conv import deform_conv2d
from mmkit.ops.deform_roi_pool import DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool
from mmkit.ops.focal_loss import sigmoid_focal_loss
from mmkit.ops.nms import batched_nms, check_nms, nms, nms_match, set_nms, soft_nms
from mmkit.ops.roi_pool import RoIAlign, RoIPool, Size, pair

__all__ = [
    'DeformRoIPoolPack',
    'ModulatedDeformRoIPoolPack',
    'RoIAlign',
    'RoIPool',
    'Size',
    'batched_nms',
    'check_nms',
    'deform_conv2d',
    'deform_roi_pool',
    'nms',
    'nms_match',
    'pair',
    'set_nms',
    'sigmoid_focal_loss',
    'soft_nms',
]
