"""Thin faces on torchvision.ops with the arguments mmdetection configs use."""

from mmkit.ops.deform_conv import deform_conv2d
from mmkit.ops.focal_loss import sigmoid_focal_loss
from mmkit.ops.nms import batched_nms, nms, soft_nms
from mmkit.ops.roi_pool import RoIAlign, RoIPool

__all__ = ['RoIAlign', 'RoIPool', 'batched_nms', 'deform_conv2d', 'nms', 'sigmoid_focal_loss', 'soft_nms']
