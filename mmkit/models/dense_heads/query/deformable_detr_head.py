"""Deformable DETR's head, arXiv:2010.04159."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.layers import bias_init_with_prob, constant_init
from mmkit.models.dense_heads.query.deformable_detr_transformer import DeformableDetrTransformer
from mmkit.models.dense_heads.query.outputs import Decoded, Denoised, QueryOuts, QueryTargets
from mmkit.models.dense_heads.query.query_head import QueryHead, QueryHeadArgs, build_encoding, by_layer
from mmkit.models.dense_heads.query.references import refine_references
from mmkit.registry import HEADS, TRANSFORMER, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta


def build_branches(
    embed_dims: int, num_outputs: int, num_reg_fcs: int, count: int, shared: bool
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """`count` class branches and box branches, or one of each for all layers if `shared`."""
    hidden = [layer for _ in range(num_reg_fcs) for layer in (nn.Linear(embed_dims, embed_dims), nn.ReLU())]
    kinds = nn.Linear(embed_dims, num_outputs), nn.Sequential(*hidden, nn.Linear(embed_dims, 4))
    cls, reg = (
        nn.ModuleList([branch] * count if shared else (copy.deepcopy(branch) for _ in range(count))) for branch in kinds
    )
    return cls, reg


def reset_branches(sigmoid_branches: Iterable[nn.Module], reg_branches: Iterable[nn.Module]) -> None:
    """Initial weights: rare classes, and boxes that are where their references are."""
    for branch in sigmoid_branches:
        assert isinstance(branch, nn.Linear)
        nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
    for branch in reg_branches:
        constant_init(list(branch.children())[-1], 0, bias=0)


def predict_layers(decoded: Decoded, cls_branches: nn.ModuleList, reg_branches: nn.ModuleList) -> tuple[Tensor, Tensor]:
    """Logits (L, B, Q, C) and boxes (L, B, Q, 4) by a branch for each layer; further branches are not used."""
    layers = list(zip(decoded.states, decoded.references, cls_branches, reg_branches, strict=False))
    cls_scores = torch.stack([cls(state) for state, _, cls, _ in layers])
    return cls_scores, torch.stack([refine_references(ref, reg(state)) for state, ref, _, reg in layers])


def split_outs(cls_scores: Tensor, bbox_preds: Tensor, decoded: Decoded) -> QueryOuts:
    """Logits and boxes of all queries, apart by their origin."""
    enc_cls_scores, enc_bbox_preds = decoded.proposals or (None, None)
    if decoded.denoising is None:
        return QueryOuts(cls_scores, bbox_preds, enc_cls_scores, enc_bbox_preds)
    first = decoded.denoising.labels.shape[-1]
    denoised = Denoised(cls_scores[:, :, :first], bbox_preds[:, :, :first], decoded.denoising)
    matched = cls_scores[:, :, first:], bbox_preds[:, :, first:]
    return QueryOuts(*matched, enc_cls_scores, enc_bbox_preds, denoised)


@HEADS.register_module()
class DeformableDETRHead(QueryHead):
    """A class and a box branch for each decoder layer; with `transformer` also an encoder, a decoder and queries.

    Args:
        with_box_refine: each layer refines the boxes of the one before; otherwise the layers share their branches.
        as_two_stage: queries start from the encoder's detections, for which there is one more branch of each kind.
        num_reg_fcs: hidden linear layers of a box branch.
        embed_dims: channels of the states; with a transformer they are its own.
        num_layers: of the decoder; with a transformer they are its own.
        transformer: config of a `DeformableDetrTransformer`, which the three arguments below are for.
        in_channels: has no effect: the neck brings the levels to the width of the transformer.
        num_query: Q.
        positional_encoding: config of the encoding of cells.
        proposes_classes: the encoder's detections have classes; otherwise every object is of class 0 to it.

    Others as in `QueryHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | None = None,
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        transformer: Cfg | None = None,
        num_query: int = 100,
        num_reg_fcs: int = 2,
        positional_encoding: Cfg = dict(type='SinePositionalEncoding', num_feats=128, normalize=True),
        loss_cls: Cfg = dict(
            type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0
        ),
        embed_dims: int = 256,
        num_layers: int = 6,
        proposes_classes: bool = False,
        **kwargs: Unpack[QueryHeadArgs],
    ) -> None:
        loss_cls = dict(loss_cls)
        loss_cls.pop('bg_cls_weight', None)
        super().__init__(num_classes, loss_cls, **kwargs)
        self.with_box_refine = with_box_refine
        self.as_two_stage = as_two_stage
        self.proposes_classes = proposes_classes
        dims = embed_dims
        if transformer is not None:
            extra = dict(as_two_stage=True) if as_two_stage else {}
            built: DeformableDetrTransformer = build_from_cfg({**transformer, **extra}, TRANSFORMER)
            dims, num_layers = built.embed_dims, built.decoder.num_layers
            self.positional_encoding = build_encoding(positional_encoding, dims)
            self.transformer = built
            self.query_embedding = None if as_two_stage else nn.Embedding(num_query, dims * 2)
        self.cls_branches, self.reg_branches = build_branches(
            dims, self.cls_out_channels, num_reg_fcs, count=num_layers + as_two_stage, shared=not with_box_refine
        )

    def init_weights(self) -> None:
        super().init_weights()
        reset_branches(self.cls_branches if self.use_sigmoid_cls else (), self.reg_branches)
        if not self.as_two_stage:  # boxes start small; with two stages their size comes from the encoder
            last = list(self.reg_branches[0].children())[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias[2:], -2.0)

    def decoded(self, feats: Sequence[Tensor], mask: Tensor | None) -> Decoded:
        assert isinstance(self.transformer, DeformableDetrTransformer)
        states: Decoded = self.transformer(
            feats,
            mask,
            self.positional_encoding,
            query_embed=None if self.query_embedding is None else self.query_embedding.weight,
            reg_branches=self.reg_branches,
            cls_branches=self.cls_branches,
            refine=self.with_box_refine,
        )
        return states

    def branches(self, decoded: Decoded) -> QueryOuts:
        return split_outs(*predict_layers(decoded, self.cls_branches, self.reg_branches), decoded)

    def loss(self, outs: QueryOuts, batch: Batch) -> dict[str, Tensor]:
        """As `QueryHead.loss`, with those of the encoder under `enc_` and those of denoising under `dn_`."""
        losses = super().loss(outs, batch)
        if outs.denoised is not None:
            losses |= self.denoising_losses(outs.denoised, batch.metas)
        if outs.enc_cls_scores is None or outs.enc_bbox_preds is None:
            return losses
        gts = list(batch.gts or ())
        if not self.proposes_classes:
            gts = [replace(each, labels=each.bboxes.new_zeros(len(each), dtype=torch.long)) for each in gts]
        cls_scores, bbox_preds = outs.enc_cls_scores[None].float(), outs.enc_bbox_preds[None].float()
        targets = self.targets(cls_scores, bbox_preds, gts, batch.metas)
        (enc_losses,) = self.layer_losses(cls_scores, bbox_preds, targets, batch.metas)
        return losses | {f'enc_{name}': loss for name, loss in enc_losses.items()}

    def denoising_losses(self, outs: Denoised, metas: Sequence[ImageMeta]) -> dict[str, Tensor]:
        """Losses of queries made of noisy ground truth."""
        cls_scores, bbox_preds = outs.cls_scores.float(), outs.bbox_preds.float()
        labels, positive, bboxes, _ = outs.targets
        targets = QueryTargets(*(each.expand(len(cls_scores), *each.shape[1:]) for each in (labels, positive, bboxes)))
        layers = self.layer_losses(cls_scores, bbox_preds, targets, metas)
        return by_layer([{f'dn_{name}': loss for name, loss in layer.items()} for layer in layers])


HEADS.register_module('DINOHead', module=DeformableDETRHead, defaults=dict(proposes_classes=True))
