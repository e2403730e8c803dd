"""Heads that draw the mask of a region."""

from mmkit.models.roi_heads.mask_heads.fcn_mask_head import FCNMaskHead
from mmkit.models.roi_heads.mask_heads.fused_semantic_head import FusedSemanticHead
from mmkit.models.roi_heads.mask_heads.htc_mask_head import HTCMaskHead

__all__ = ['FCNMaskHead', 'FusedSemanticHead', 'HTCMaskHead']
