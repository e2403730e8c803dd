"""Dense heads: predictions at every cell of every pyramid level, or for a set of queries."""

from mmkit.models.dense_heads.anchor import (
    AnchorHead,
    ATSSHead,
    GFLHead,
    PAAHead,
    RetinaHead,
    RetinaSepBNHead,
    RPNHead,
    SSDHead,
    VFNetHead,
    YOLOV3Head,
)
from mmkit.models.dense_heads.point import (
    CenterNetUpdateHead,
    CondInstBboxHead,
    FCOSHead,
    FoveaHead,
    RepPointsHead,
    RTMDetHead,
    RTMDetInsHead,
    RTMDetInsSepBNHead,
    RTMDetSepBNHead,
    YOLOXHead,
)
from mmkit.models.dense_heads.query import DeformableDETRHead, DeformableDetrTransformer, DETRHead, Transformer

__all__ = [
    'ATSSHead',
    'AnchorHead',
    'CenterNetUpdateHead',
    'CondInstBboxHead',
    'DETRHead',
    'DeformableDETRHead',
    'DeformableDetrTransformer',
    'FCOSHead',
    'FoveaHead',
    'GFLHead',
    'PAAHead',
    'RPNHead',
    'RTMDetHead',
    'RTMDetInsHead',
    'RTMDetInsSepBNHead',
    'RTMDetSepBNHead',
    'RepPointsHead',
    'RetinaHead',
    'RetinaSepBNHead',
    'SSDHead',
    'Transformer',
    'VFNetHead',
    'YOLOV3Head',
    'YOLOXHead',
]
