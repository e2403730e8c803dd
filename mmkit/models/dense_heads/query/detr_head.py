"""DETR's head, arXiv:2005.12872."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers.transformer import FFN
from mmkit.models.dense_heads.query.detr_transformer import Transformer
from mmkit.models.dense_heads.query.outputs import Decoded, QueryOuts
from mmkit.models.dense_heads.query.query_head import QueryHead, QueryHeadArgs, build_encoding
from mmkit.registry import HEADS, TRANSFORMER, Cfg, build_from_cfg


@HEADS.register_module()
class DETRHead(QueryHead):
    """A class branch and a box branch; with `transformer` also an encoder, a decoder and the queries of one level.

    Args:
        embed_dims: channels of the states; with a transformer they are its own.
        num_reg_fcs: hidden linear layers of the box branch.
        loss_cls: a softmax loss may give `class_weight` (all classes) and `bg_cls_weight` (background).
        transformer: config of a `Transformer`, which the three arguments below are for.
        in_channels: of the level.
        num_query: Q.
        positional_encoding: config of the encoding of cells.

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
        in_channels: int | None = None,
        num_query: int = 100,
        num_reg_fcs: int = 2,
        transformer: Cfg | None = None,
        positional_encoding: Cfg = dict(type='SinePositionalEncoding', num_feats=128, normalize=True),
        loss_cls: Cfg = dict(
            type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0
        ),
        embed_dims: int = 256,
        **kwargs: Unpack[QueryHeadArgs],
    ) -> None:
        loss_cls = dict(loss_cls)
        class_weight = loss_cls.get('class_weight')
        bg_cls_weight = loss_cls.pop('bg_cls_weight', class_weight)
        if class_weight is not None:
            loss_cls['class_weight'] = [class_weight] * num_classes + [bg_cls_weight]
        super().__init__(num_classes, loss_cls, bg_cls_weight=bg_cls_weight or 0.0, **(self.defaults | kwargs))
        dims = embed_dims
        if transformer is not None:
            built: Transformer = build_from_cfg(transformer, TRANSFORMER)
            dims = built.embed_dims
            if in_channels is None:
                raise InvalidValueError('a head with a transformer needs in_channels', key='in_channels')
            self.positional_encoding = build_encoding(positional_encoding, dims)
            self.transformer = built
            self.input_proj = nn.Conv2d(in_channels, dims, 1)
            self.query_embedding = nn.Embedding(num_query, dims)
        self.fc_cls = nn.Linear(dims, self.cls_out_channels)
        self.reg_ffn = FFN(dims, dims, num_reg_fcs, add_identity=False)
        self.fc_reg = nn.Linear(dims, 4)

    def decoded(self, feats: Sequence[Tensor], mask: Tensor | None) -> Decoded:
        assert isinstance(self.transformer, Transformer)
        feat = self.input_proj(feats[-1])
        states: Decoded = self.transformer(feat, mask, self.positional_encoding, self.query_embedding.weight)
        return states

    def box_logits(self, states: Tensor) -> Tensor:
        """(..., C) states -> (..., 4)."""
        logits: Tensor = self.fc_reg(self.reg_ffn(states).relu())
        return logits

    def branches(self, decoded: Decoded) -> QueryOuts:
        return QueryOuts(self.fc_cls(decoded.states), self.box_logits(decoded.states).sigmoid())
