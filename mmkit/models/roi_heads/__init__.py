"""RoI heads: the second stage of a detector."""

from mmkit.models.mask_heads import FCNMaskHead, HTCMaskHead
from mmkit.models.roi_heads.bbox_heads import BBoxHead, MultiInstanceBBoxHead, SABLHead
from mmkit.models.roi_heads.cascade_roi_head import CascadeRoIHead
from mmkit.models.roi_heads.htc_roi_head import HybridTaskCascadeRoIHead
from mmkit.models.roi_heads.mask_scoring_roi_head import MaskScoringRoIHead
from mmkit.models.roi_heads.multi_instance_roi_head import MultiInstanceRoIHead
from mmkit.models.roi_heads.pisa_roi_head import PISARoIHead
from mmkit.models.roi_heads.roi_extractors import GenericRoIExtractor, SingleRoIExtractor
from mmkit.models.roi_heads.shared_heads import ResLayer
from mmkit.models.roi_heads.standard_roi_head import StandardRoIHead
from mmkit.models.semantic_heads import FusedSemanticHead

__all__ = [
    'BBoxHead',
    'CascadeRoIHead',
    'FCNMaskHead',
    'FusedSemanticHead',
    'GenericRoIExtractor',
    'HTCMaskHead',
    'HybridTaskCascadeRoIHead',
    'MaskScoringRoIHead',
    'MultiInstanceBBoxHead',
    'MultiInstanceRoIHead',
    'PISARoIHead',
    'ResLayer',
    'SABLHead',
    'SingleRoIExtractor',
    'StandardRoIHead',
]
