"""Heads that classify a region and refine its box."""

from mmkit.models.roi_heads.bbox_heads.bbox_head import BBoxHead
from mmkit.models.roi_heads.bbox_heads.multi_instance_bbox_head import MultiInstanceBBoxHead
from mmkit.models.roi_heads.bbox_heads.sabl_head import SABLHead

__all__ = [
    'BBoxHead',
    'MultiInstanceBBoxHead',
    'SABLHead',
]
