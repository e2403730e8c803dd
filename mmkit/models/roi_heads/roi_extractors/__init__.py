"""Extractors of region features."""

from mmkit.models.roi_heads.roi_extractors.generic import GenericRoIExtractor
from mmkit.models.roi_heads.roi_extractors.single_level import SingleRoIExtractor, bboxes_to_rois

__all__ = ['GenericRoIExtractor', 'SingleRoIExtractor', 'bboxes_to_rois']
