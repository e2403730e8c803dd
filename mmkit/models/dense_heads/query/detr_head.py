"""DETR's head, arXiv:2005.12872."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.layers.transformer import FFN
from mmkit.models.dense_heads.query.detr_transformer import Transformer
from mmkit.models.dense_heads.query.query_head import (
    QueryHead,
    QueryHeadArgs,
    QueryOuts,
    build_encoding,
    resize_mask,
)
from mmkit.registry import HEADS, TRANSFORMER, Cfg, build_from_cfg


@HEADS.register_module()
class DETRHead(QueryHead):
    """One level, an encoder and a decoder, a class branch and a box branch.

    Args:
        in_channels: of the level.
        num_reg_fcs: hidden linear layers of the box branch.
        transformer: config of a `Transformer`.
        positional_encoding: config of the encoding of cells.
        loss_cls: a softmax loss may give `class_weight` (all classes) and `bg_cls_weight` (background).

    Others as in `QueryHead`.
    """

    defaults: ClassVar[QueryHeadArgs] = dict(
        train_cfg=dict(
            assigner=dict(
                type='HungarianAssigner',
                cls_cost=dict(type='ClassificationCost', weight=1.0),
                reg_cost=dict(type='BBoxL1Cost', weight=5.0),
                iou_cost=dict(type='IoUCost', iou_mode='giou', weight=2.0),
            )
        )
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_query: int = 100,
        num_reg_fcs: int = 2,
        transformer: Cfg | None = None,
        positional_encoding: Cfg = dict(type='SinePositionalEncoding', num_feats=128, normalize=True),
        loss_cls: Cfg = dict(
            type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0
        ),
        **kwargs: Unpack[QueryHeadArgs],
    ) -> None:
        loss_cls = dict(loss_cls)
        class_weight = loss_cls.get('class_weight')
        bg_cls_weight = loss_cls.pop('bg_cls_weight', class_weight)
        if class_weight is not None:
            loss_cls['class_weight'] = [class_weight] * num_classes + [bg_cls_weight]
        super().__init__(
            num_classes, num_query, loss_cls, bg_cls_weight=bg_cls_weight or 0.0, **(self.defaults | kwargs)
        )
        built: Transformer = build_from_cfg(transformer, TRANSFORMER)
        dims = built.embed_dims
        self.positional_encoding = build_encoding(positional_encoding, dims)
        self.transformer = built
        self.input_proj = nn.Conv2d(in_channels, dims, 1)
        self.fc_cls = nn.Linear(dims, self.cls_out_channels)
        self.reg_ffn = FFN(dims, dims, num_reg_fcs, add_identity=False)
        self.fc_reg = nn.Linear(dims, 4)
        self.query_embedding = nn.Embedding(num_query, dims)

    def forward(self, feats: Sequence[Tensor], mask: Tensor | None = None) -> QueryOuts:
        feat = self.input_proj(feats[-1])
        small = resize_mask(mask, feat)
        decoded = self.transformer(feat, small, self.query_embedding.weight, self.positional_encoding(small))
        return QueryOuts(self.fc_cls(decoded), self.fc_reg(self.reg_ffn(decoded).relu()).sigmoid())
