"""Anchor-free heads: one prediction at every cell of every level."""

from mmkit.models.dense_heads.point.centernet_head import CenterNetHead
from mmkit.models.dense_heads.point.centernet_update_head import CenterNetUpdateHead
from mmkit.models.dense_heads.point.condinst_bbox_head import CondInstBboxHead
from mmkit.models.dense_heads.point.fcos_head import FCOSHead
from mmkit.models.dense_heads.point.fovea_head import FoveaHead
from mmkit.models.dense_heads.point.reppoints_head import RepPointsHead
from mmkit.models.dense_heads.point.rtmdet_head import RTMDetHead, RTMDetSepBNHead
from mmkit.models.dense_heads.point.rtmdet_ins_head import RTMDetInsHead, RTMDetInsSepBNHead
from mmkit.models.dense_heads.point.yolox_head import YOLOXHead

__all__ = [
    'CenterNetHead',
    'CenterNetUpdateHead',
    'CondInstBboxHead',
    'FCOSHead',
    'FoveaHead',
    'RTMDetHead',
    'RTMDetInsHead',
    'RTMDetInsSepBNHead',
    'RTMDetSepBNHead',
    'RepPointsHead',
    'YOLOXHead',
]
