"""DAB-DETR's head, arXiv:2201.12329."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import Unpack

from mmkit.layers import bias_init_with_prob, constant_init
from mmkit.models.dense_heads.query.layers import MLP
from mmkit.models.dense_heads.query.outputs import Decoded, QueryOuts
from mmkit.models.dense_heads.query.query_head import QueryHead, QueryHeadArgs
from mmkit.models.dense_heads.query.references import refine_references
from mmkit.registry import HEADS, Cfg


@HEADS.register_module()
class DABDETRHead(QueryHead):
    """A class branch and a box branch; the decoder refines its boxes with the latter.

    Args:
        embed_dims: channels of the states.

    Others as in `QueryHead`.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int = 256,
        loss_cls: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        **kwargs: Unpack[QueryHeadArgs],
    ) -> None:
        super().__init__(num_classes, loss_cls, **kwargs)
        self.fc_cls = nn.Linear(embed_dims, self.cls_out_channels)
        self.fc_reg = MLP(embed_dims, embed_dims, 4, 3)

    def init_weights(self) -> None:
        super().init_weights()
        if self.use_sigmoid_cls:
            nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))
        constant_init(self.fc_reg.layers[-1], 0, bias=0)

    def branches(self, decoded: Decoded) -> QueryOuts:
        references = torch.stack(decoded.references)  # (L, B, Q, 4)
        boxes = refine_references(references, self.fc_reg(decoded.states), eps=1e-3)
        return QueryOuts(self.fc_cls(decoded.states), boxes)
