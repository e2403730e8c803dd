"""Conditional DETR's head, arXiv:2108.06152."""

from __future__ import annotations

import torch
from torch import nn

from mmkit.layers import bias_init_with_prob
from mmkit.models.dense_heads.query.detr_head import DETRHead
from mmkit.models.dense_heads.query.outputs import Decoded, QueryOuts
from mmkit.models.dense_heads.query.references import refine_references
from mmkit.registry import HEADS


@HEADS.register_module()
class ConditionalDETRHead(DETRHead):
    """DETR's head, with boxes relative to the reference points of the queries. Arguments as in `DETRHead`."""

    def init_weights(self) -> None:
        super().init_weights()
        if self.use_sigmoid_cls:
            nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))

    def branches(self, decoded: Decoded) -> QueryOuts:
        references = torch.stack(decoded.references)  # (L, B, Q, 2)
        return QueryOuts(self.fc_cls(decoded.states), refine_references(references, self.box_logits(decoded.states)))
