"""Deformable DETR's encoder and decoder, arXiv:2010.04159."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, MultiScaleDeformableAttention, Sampling, xavier_init
from mmkit.layers.positional_encoding import sine_embedding
from mmkit.layers.transformer import TransformerLayerSequence
from mmkit.models.dense_heads.query.detr_transformer import build_sequence
from mmkit.registry import TRANSFORMER, TRANSFORMER_LAYER_SEQUENCE, Cfg


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of `x` in 0..1, finite at both ends."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def refine_references(references: Tensor, deltas: Tensor) -> Tensor:
    """(..., 2 or 4) references in 0..1 moved by (..., 4) `deltas` in logit space: (..., 4) cx cy w h in 0..1."""
    offset = inverse_sigmoid(references)
    if references.shape[-1] == 2:
        offset = torch.cat([offset, torch.zeros_like(offset)], dim=-1)
    return (deltas + offset).sigmoid()


class Proposals(NamedTuple):
    """Class logits (B, S, C) and box logits (B, S, 4) of every cell, from the encoder."""

    cls_scores: Tensor
    box_logits: Tensor


class Decoded(NamedTuple):
    """Output of the decoder.

    Attributes:
        states: (L, Q, B, C) after each layer.
        references: (B, Q, 2 or 4) of each layer: where it started from. Points become boxes when they are refined.
        proposals: of the encoder, with two stages; the transformer adds them.
    """

    states: Tensor
    references: list[Tensor]
    proposals: Proposals | None = None


@TRANSFORMER_LAYER_SEQUENCE.register_module()
class DeformableDetrTransformerDecoder(TransformerLayerSequence):
    """Layers of self attention and deformable cross attention; with box branches each layer refines the references.

    Args:
        return_intermediate: give the output of every layer, not only of the last.
    """

    def __init__(
        self,
        transformerlayers: Cfg | Sequence[Cfg] | None = None,
        num_layers: int | None = None,
        init_cfg: Cfg | None = None,
        return_intermediate: bool = False,
    ) -> None:
        super().__init__(transformerlayers, num_layers, init_cfg)
        self.return_intermediate = return_intermediate

    def forward(  # type: ignore[override]  # another contract: it needs and returns references
        self,
        query: Tensor,
        value: Tensor,
        query_pos: Tensor,
        padding: Tensor,
        references: Tensor,
        shapes: Sequence[tuple[int, int]],
        valid_ratios: Tensor,
        reg_branches: nn.ModuleList | None = None,
    ) -> Decoded:
        """Decode (Q, B, C) queries.

        Args:
            value: (S, B, C); `padding` (B, S).
            references: (B, Q, 2 or 4) in shares of the images.
            valid_ratios: (B, L, 2), the share of each level (x, y) that is image.
        """
        states, all_references = [], []
        for index, layer in enumerate(self.layers):
            ratios = valid_ratios.repeat(1, 1, references.shape[-1] // 2)  # (B, L, 2 or 4)
            sampling = Sampling(references[:, :, None] * ratios[:, None], shapes)
            query = layer(query, None, value, query_pos=query_pos, key_padding_mask=padding, sampling=sampling)
            states.append(query)
            all_references.append(references)
            if reg_branches is not None:
                references = refine_references(references, reg_branches[index](query.transpose(0, 1))).detach()
        if not self.return_intermediate:
            states, all_references = states[-1:], all_references[-1:]
        return Decoded(torch.stack(states), all_references)


@TRANSFORMER.register_module()
class DeformableDetrTransformer(BaseModule):
    """An encoder over the cells of all levels and a decoder over queries or, with two stages, over the best cells.

    Args:
        as_two_stage: queries start from the encoder's own detections.
        num_feature_levels: L.
        two_stage_num_proposals: how many of them.
    """

    def __init__(
        self,
        as_two_stage: bool = False,
        num_feature_levels: int = 4,
        two_stage_num_proposals: int = 300,
        encoder: Cfg | None = None,
        decoder: Cfg | None = None,
        init_cfg: Cfg | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.as_two_stage = as_two_stage
        self.two_stage_num_proposals = two_stage_num_proposals
        self.encoder = build_sequence(encoder, 'encoder')
        self.decoder = build_sequence(decoder, 'decoder')
        self.embed_dims = dims = self.encoder.embed_dims
        self.level_embeds = nn.Parameter(torch.zeros(num_feature_levels, dims))
        if as_two_stage:
            self.enc_output = nn.Linear(dims, dims)
            self.enc_output_norm = nn.LayerNorm(dims)
            self.pos_trans = nn.Linear(dims * 2, dims * 2)
            self.pos_trans_norm = nn.LayerNorm(dims * 2)
        else:
            self.reference_points = nn.Linear(dims, 2)

    def init_weights(self) -> None:
        super().init_weights()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.reset()
        if not self.as_two_stage:
            xavier_init(self.reference_points, distribution='uniform')
        nn.init.normal_(self.level_embeds)

    def forward(
        self,
        feats: Sequence[Tensor],
        masks: Sequence[Tensor],
        pos_embeds: Sequence[Tensor],
        query_embed: Tensor | None,
        reg_branches: nn.ModuleList,
        cls_branches: nn.ModuleList,
        refine: bool = False,
    ) -> Decoded:
        """Encode the levels, decode the queries.

        Args:
            feats, pos_embeds: (B, C, h, w) of each level.
            masks: (B, h, w) of each level, True at padding.
            query_embed: (Q, 2C) positions and contents of the queries; None with two stages.
            reg_branches, cls_branches: of each decoder layer; with two stages the last one is the encoder's.
            refine: each decoder layer refines the boxes of the one before.
        """
        if len(feats) != len(self.level_embeds):
            raise InvalidValueError(
                f'num_feature_levels is {len(self.level_embeds)}, the neck gives {len(feats)} levels',
                key='num_feature_levels',
            )
        shapes = [(feat.shape[-2], feat.shape[-1]) for feat in feats]
        tokens = torch.cat([feat.flatten(2) for feat in feats], dim=2).permute(2, 0, 1)  # (S, B, C)
        embeds = [p.flatten(2) + e[:, None] for p, e in zip(pos_embeds, self.level_embeds)]
        pos = torch.cat(embeds, dim=2).permute(2, 0, 1)  # (S, B, C)
        padding = torch.cat([mask.flatten(1) for mask in masks], dim=1)  # (B, S)
        valid_ratios = torch.stack([self._valid_ratio(mask) for mask in masks], dim=1)  # (B, L, 2)
        sampling = Sampling(self._cell_references(shapes, valid_ratios), shapes)
        memory = self.encoder(
            tokens, None, None, query_pos=pos, query_key_padding_mask=padding, sampling=sampling
        )  # (S, B, C)
        proposals = None
        if query_embed is None:
            encoded, anchors = self._cell_anchors(memory.transpose(0, 1), padding, masks, shapes)
            proposals = Proposals(cls_branches[-1](encoded), reg_branches[-1](encoded) + anchors)
            query_pos, query, references = self._queries(proposals)
        else:
            query_pos, query = query_embed.expand(tokens.shape[1], -1, -1).chunk(2, dim=-1)  # (B, Q, C)
            references = self.reference_points(query_pos).sigmoid()
        decoded: Decoded = self.decoder(
            query.transpose(0, 1),
            memory,
            query_pos=query_pos.transpose(0, 1),
            padding=padding,
            references=references,
            shapes=shapes,
            valid_ratios=valid_ratios,
            reg_branches=reg_branches if refine else None,
        )
        return decoded._replace(proposals=proposals)

    @staticmethod
    def _valid_ratio(mask: Tensor) -> Tensor:
        """(B, h, w) padding -> (B, 2): the shares of width and height that are image."""
        inside = ~mask
        return torch.stack([inside[:, 0].float().mean(-1), inside[:, :, 0].float().mean(-1)], dim=-1)

    @staticmethod
    def _cell_references(shapes: Sequence[tuple[int, int]], valid_ratios: Tensor) -> Tensor:
        """(B, S, L, 2): the centre of each cell, in shares of every level."""
        points = []
        for level, (height, width) in enumerate(shapes):
            ys = torch.arange(height, device=valid_ratios.device) + 0.5
            xs = torch.arange(width, device=valid_ratios.device) + 0.5
            grid = torch.stack(torch.meshgrid(xs / width, ys / height, indexing='xy'), dim=-1).view(1, -1, 2)
            points.append(grid / valid_ratios[:, level, None])
        return torch.cat(points, dim=1)[:, :, None] * valid_ratios[:, None]

    def _queries(self, proposals: Proposals) -> tuple[Tensor, Tensor, Tensor]:
        """Positions (B, Q, C), contents (B, Q, C) and reference boxes (B, Q, 4) from the cells with the best scores."""
        scores, box_logits = proposals
        count = min(self.two_stage_num_proposals, scores.shape[1])
        best = scores[..., 0].topk(count, dim=1).indices
        boxes = box_logits.gather(1, best[..., None].expand(-1, -1, 4)).detach().sigmoid()  # (B, Q, 4)
        encoded = sine_embedding(boxes * 2 * math.pi, self.embed_dims // 2, 10000).flatten(2)  # (B, Q, 2C)
        query_pos, query = self.pos_trans_norm(self.pos_trans(encoded)).chunk(2, dim=-1)
        return query_pos, query, boxes

    def _cell_anchors(
        self, memory: Tensor, padding: Tensor, masks: Sequence[Tensor], shapes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """(B, S, C) memory, zero at padding and at the border, and a box (B, S, 4) in logits for each cell."""
        anchors = []
        for level, (mask, (height, width)) in enumerate(zip(masks, shapes, strict=True)):
            valid = torch.stack([(~mask[:, 0]).sum(1), (~mask[:, :, 0]).sum(1)], dim=-1).float()  # (B, 2) w, h
            ys = torch.arange(height, device=mask.device, dtype=torch.float) + 0.5
            xs = torch.arange(width, device=mask.device, dtype=torch.float) + 0.5
            centers = torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1).view(1, -1, 2) / valid[:, None]
            anchors.append(torch.cat([centers, torch.full_like(centers, 0.05 * 2.0**level)], dim=-1))
        boxes = torch.cat(anchors, dim=1)  # (B, S, 4)
        usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True) & ~padding[..., None]
        logits = torch.log(boxes / (1 - boxes)).masked_fill(~usable, float('inf'))
        memory = self.enc_output_norm(self.enc_output(memory.masked_fill(~usable, 0.0)))
        return memory, logits
