"""Heads that classify a region and refine its box."""

from mmkit.models.roi_heads.bbox_heads.bbox_head import BBoxHead

__all__ = ['BBoxHead']
