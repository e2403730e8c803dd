"""Dense heads: predictions at every cell of every pyramid level, or for a set of queries."""

from mmkit.models.dense_heads.anchor import (
    AnchorHead,
    ATSSHead,
    GFLHead,
    RetinaHead,
    RetinaSepBNHead,
    RPNHead,
    SSDHead,
    YOLOV3Head,
)
from mmkit.models.dense_heads.point import CenterNetUpdateHead, FCOSHead, YOLOXHead
from mmkit.models.dense_heads.query import DeformableDETRHead, DeformableDetrTransformer, DETRHead, Transformer

__all__ = [
    'ATSSHead',
    'AnchorHead',
    'CenterNetUpdateHead',
    'DETRHead',
    'DeformableDETRHead',
    'DeformableDetrTransformer',
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
