"""Deformable DETR's head, arXiv:2010.04159."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers import bias_init_with_prob, constant_init
from mmkit.models.dense_heads.query.deformable_detr_transformer import refine_references
from mmkit.models.dense_heads.query.detr_head import QueryHead, QueryOutputs, check_encoding, resize_mask
from mmkit.registry import HEADS, POSITIONAL_ENCODING, TRANSFORMER, build_from_cfg
from mmkit.structures import Batch


@dataclass
class DeformableQueryOutputs(QueryOutputs):
    """With two stages also the encoder's class logits (B, S, C) and boxes (B, S, 4)."""

    enc_cls_scores: Tensor | None = None
    enc_bbox_preds: Tensor | None = None


@HEADS.register_module()
class DeformableDETRHead(QueryHead):
    """Several levels, deformable attention, a class and a box branch for each decoder layer.

    Args:
        with_box_refine: each layer refines the boxes of the one before; otherwise the layers share their branches.
        as_two_stage: queries start from the encoder's detections.
        in_channels: plays no part: the neck brings the levels to the width of the transformer.
        num_reg_fcs: hidden linear layers of a box branch.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        transformer: Mapping[str, Any] | None = None,
        num_query: int = 100,
        num_reg_fcs: int = 2,
        sync_cls_avg_factor: bool = False,
        positional_encoding: Mapping[str, Any] = dict(type='SinePositionalEncoding', num_feats=128, normalize=True),
        loss_cls: Mapping[str, Any] = dict(
            type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0
        ),
        loss_bbox: Mapping[str, Any] = dict(type='L1Loss', loss_weight=5.0),
        loss_iou: Mapping[str, Any] = dict(type='GIoULoss', loss_weight=2.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = dict(max_per_img=100),
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        loss_cls = dict(loss_cls)
        loss_cls.pop('bg_cls_weight', None)
        super().__init__(
            num_classes,
            num_query,
            sync_cls_avg_factor,
            loss_cls,
            loss_bbox,
            loss_iou,
            train_cfg,
            test_cfg,
            init_cfg,
        )
        self.with_box_refine = with_box_refine
        self.as_two_stage = as_two_stage
        extra = dict(as_two_stage=True) if as_two_stage else {}
        self.positional_encoding = build_from_cfg(positional_encoding, POSITIONAL_ENCODING)
        self.transformer = build_from_cfg({**(transformer or {}), **extra}, TRANSFORMER)
        self.transformer.refine = with_box_refine
        dims = self.transformer.embed_dims
        check_encoding(self.positional_encoding, dims)
        hidden = [layer for _ in range(num_reg_fcs) for layer in (nn.Linear(dims, dims), nn.ReLU())]
        reg_branch, cls_branch = nn.Sequential(*hidden, nn.Linear(dims, 4)), nn.Linear(dims, self.cls_out_channels)
        count = self.transformer.decoder.num_layers + as_two_stage
        if with_box_refine:
            self.cls_branches = nn.ModuleList(copy.deepcopy(cls_branch) for _ in range(count))
            self.reg_branches = nn.ModuleList(copy.deepcopy(reg_branch) for _ in range(count))
        else:
            self.cls_branches = nn.ModuleList([cls_branch] * count)
            self.reg_branches = nn.ModuleList([reg_branch] * count)
        if not as_two_stage:
            self.query_embedding = nn.Embedding(num_query, dims * 2)

    def init_weights(self) -> None:
        super().init_weights()
        if self.use_sigmoid_cls:
            for branch in self.cls_branches:
                nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            constant_init(branch[-1], 0, bias=0)
        # Boxes start small; with two stages their size comes from the encoder.
        nn.init.constant_(self.reg_branches[0][-1].bias[2:], 0.0 if self.as_two_stage else -2.0)

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> DeformableQueryOutputs:
        """Levels (B, C, h, w) and the (B, H, W) padding of the images."""
        masks = [resize_mask(mask, feat) for feat in feats]
        found = self.transformer(
            feats,
            masks,
            [self.positional_encoding(each) for each in masks],
            None if self.as_two_stage else self.query_embedding.weight,
            self.reg_branches if self.with_box_refine or self.as_two_stage else None,
            self.cls_branches if self.as_two_stage else None,
        )
        states = found.states.transpose(1, 2)  # (L, B, Q, C)
        # With two stages the last branch belongs to the encoder: zip stops before it.
        layers = list(zip(states, found.references, self.cls_branches, self.reg_branches, strict=False))
        outs = DeformableQueryOutputs(
            cls_scores=torch.stack([cls(state) for state, _, cls, _ in layers]),
            bbox_preds=torch.stack([refine_references(ref, reg(state)) for state, ref, _, reg in layers]),
        )
        if found.enc_cls_scores is not None:
            outs.enc_cls_scores, outs.enc_bbox_preds = found.enc_cls_scores, found.enc_bbox_preds.sigmoid()
        return outs

    def loss(self, outs: DeformableQueryOutputs, batch: Batch) -> dict[str, Tensor]:
        losses = super().loss(outs, batch)
        if outs.enc_cls_scores is not None:
            # The encoder only tells object from background: every object is of class 0.
            gts = [replace(each, labels=torch.zeros_like(each.labels)) for each in batch.gts or ()]
            found = self.layer_loss(outs.enc_cls_scores.float(), outs.enc_bbox_preds.float(), gts, batch.metas)
            losses.update({f'enc_{name}': value for name, value in found.items()})
        return losses
