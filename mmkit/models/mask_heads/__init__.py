"""Heads that segment the object of a region."""

from mmkit.models.mask_heads.boxinst_mask_head import BoxInstMaskHead
from mmkit.models.mask_heads.condinst_mask_head import CondInstMaskHead
from mmkit.models.mask_heads.fcn_mask_head import FCNMaskHead
from mmkit.models.mask_heads.htc_mask_head import HTCMaskHead
from mmkit.models.mask_heads.mask_iou_head import MaskIoUHead

__all__ = [
    'BoxInstMaskHead',
    'CondInstMaskHead',
    'FCNMaskHead',
    'HTCMaskHead',
    'MaskIoUHead',
]
