"""Heads that classify a region and refine its box."""

from mmkit.models.roi_heads.bbox_heads.bbox_head import BBoxHead, RoITargets
from mmkit.models.roi_heads.bbox_heads.convfc_bbox_head import (
    ConvFCBBoxHead,
    Shared2FCBBoxHead,
    Shared4Conv1FCBBoxHead,
)

__all__ = ['BBoxHead', 'ConvFCBBoxHead', 'RoITargets', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead']
