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
from mmkit.models.dense_heads.point import FCOSHead, RTMDetHead, RTMDetSepBNHead, YOLOXHead
from mmkit.models.dense_heads.query import DeformableDETRHead, DeformableDetrTransformer, DETRHead, Transformer

__all__ = [
    'ATSSHead',
    'AnchorHead',
    'DETRHead',
    'DeformableDETRHead',
    'DeformableDetrTransformer',
    'FCOSHead',
    'GFLHead',
    'RPNHead',
    'RTMDetHead',
    'RTMDetSepBNHead',
    'RetinaHead',
    'RetinaSepBNHead',
    'SSDHead',
    'Transformer',
    'YOLOV3Head',
    'YOLOXHead',
]
