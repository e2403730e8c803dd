"""Second stages: what happens to a region."""

from mmkit.models.roi_heads.bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmkit.models.roi_heads.mask_heads import FCNMaskHead
from mmkit.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmkit.models.roi_heads.shared_heads import ResLayer
from mmkit.models.roi_heads.standard_roi_head import StandardRoIHead

__all__ = [
    'BBoxHead',
    'ConvFCBBoxHead',
    'FCNMaskHead',
    'ResLayer',
    'Shared2FCBBoxHead',
    'Shared4Conv1FCBBoxHead',
    'SingleRoIExtractor',
    'StandardRoIHead',
]
