"""Heads that draw the mask of a region."""

from mmkit.models.roi_heads.mask_heads.fcn_mask_head import FCNMaskHead

__all__ = ['FCNMaskHead']
