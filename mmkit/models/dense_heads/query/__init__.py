"""Heads that decode a set of queries, matched one to one with the objects."""

from mmkit.models.dense_heads.query.conditional_detr_head import ConditionalDETRHead
from mmkit.models.dense_heads.query.dab_detr_head import DABDETRHead
from mmkit.models.dense_heads.query.ddq_detr_head import DDQDETRHead
from mmkit.models.dense_heads.query.deformable_detr_head import DeformableDETRHead
from mmkit.models.dense_heads.query.deformable_detr_transformer import DeformableDetrTransformer
from mmkit.models.dense_heads.query.detr_head import DETRHead
from mmkit.models.dense_heads.query.detr_transformer import Transformer

__all__ = [
    'ConditionalDETRHead',
    'DABDETRHead',
    'DDQDETRHead',
    'DETRHead',
    'DeformableDETRHead',
    'DeformableDetrTransformer',
    'Transformer',
]
