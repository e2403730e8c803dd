"""Heads that predict at every cell of every pyramid level."""

from mmkit.models.dense_heads.anchor_head import AnchorHead
from mmkit.models.dense_heads.atss_head import ATSSHead
from mmkit.models.dense_heads.deformable_detr_head import DeformableDETRHead
from mmkit.models.dense_heads.detr_head import DETRHead
from mmkit.models.dense_heads.detr_transformer import Transformer
from mmkit.models.dense_heads.fcos_head import FCOSHead
from mmkit.models.dense_heads.gfl_head import GFLHead
from mmkit.models.dense_heads.retina_head import RetinaHead
from mmkit.models.dense_heads.retina_sepbn_head import RetinaSepBNHead
from mmkit.models.dense_heads.rpn_head import RPNHead
from mmkit.models.dense_heads.ssd_head import SSDHead
from mmkit.models.dense_heads.yolo_head import YOLOV3Head
from mmkit.models.dense_heads.yolox_head import YOLOXHead

__all__ = [
    'ATSSHead',
    'AnchorHead',
    'DETRHead',
    'DeformableDETRHead',
    'FCOSHead',
    'GFLHead',
    'RPNHead',
    'RetinaHead',
    'RetinaSepBNHead',
    'SSDHead',
    'Transformer',
    'YOLOV3Head',
    'YOLOXHead',
]
