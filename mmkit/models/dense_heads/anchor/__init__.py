"""Heads that classify anchors and regress boxes from them."""

from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead
from mmkit.models.dense_heads.anchor.atss_head import ATSSHead
from mmkit.models.dense_heads.anchor.free_anchor_head import FreeAnchorRetinaHead
from mmkit.models.dense_heads.anchor.fsaf_head import FSAFHead
from mmkit.models.dense_heads.anchor.ga_retina_head import GARetinaHead
from mmkit.models.dense_heads.anchor.ga_rpn_head import GARPNHead
from mmkit.models.dense_heads.anchor.gfl_head import GFLHead
from mmkit.models.dense_heads.anchor.guided_anchor_head import GuidedAnchorHead
from mmkit.models.dense_heads.anchor.paa_head import PAAHead
from mmkit.models.dense_heads.anchor.retina_head import RetinaHead
from mmkit.models.dense_heads.anchor.retina_sepbn_head import RetinaSepBNHead
from mmkit.models.dense_heads.anchor.rpn_head import RPNHead
from mmkit.models.dense_heads.anchor.sabl_retina_head import SABLRetinaHead
from mmkit.models.dense_heads.anchor.ssd_head import SSDHead
from mmkit.models.dense_heads.anchor.tood_head import TOODHead
from mmkit.models.dense_heads.anchor.vfnet_head import VFNetHead
from mmkit.models.dense_heads.anchor.yolo_head import YOLOV3Head
from mmkit.models.dense_heads.anchor.yolof_head import YOLOFHead

__all__ = [
    'ATSSHead',
    'AnchorHead',
    'FSAFHead',
    'FreeAnchorRetinaHead',
    'GARPNHead',
    'GARetinaHead',
    'GFLHead',
    'GuidedAnchorHead',
    'PAAHead',
    'RPNHead',
    'RetinaHead',
    'RetinaSepBNHead',
    'SABLRetinaHead',
    'SSDHead',
    'TOODHead',
    'VFNetHead',
    'YOLOFHead',
    'YOLOV3Head',
]
