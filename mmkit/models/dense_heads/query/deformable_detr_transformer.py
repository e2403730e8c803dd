"""Deformable DETR's encoder and decoder, arXiv:2010.04159."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkit.layers import BaseModule, MultiScaleDeformableAttention, xavier_init
from mmkit.layers.transformer import TransformerLayerSequence
from mmkit.models.dense_heads.query.cells import (
    Cells,
    best_cells,
    cell_references,
    encode_boxes,
    flatten_levels,
    pick,
    propose,
)
from mmkit.models.dense_heads.query.detr_transformer import build_sequence
from mmkit.models.dense_heads.query.outputs import Decoded
from mmkit.models.dense_heads.query.references import Refine, decode_around, refine_with
from mmkit.registry import TRANSFORMER, TRANSFORMER_LAYER_SEQUENCE, Cfg


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
        query_pos: Tensor,
        memory: Cells,
        references: Tensor,
        refine: Refine | None = None,
    ) -> Decoded:
        """Decode (B, Q, C) queries around (B, Q, 2 or 4) references."""
        value, pos = memory.tokens.transpose(0, 1), query_pos.transpose(0, 1)  # these layers take (N, B, C)

        def attend(index: int, query: Tensor, references: Tensor) -> Tensor:
            sampling = memory.around(references)
            attended: Tensor = self.layers[index](
                query.transpose(0, 1), None, value, query_pos=pos, key_padding_mask=memory.padding, sampling=sampling
            )
            return attended.transpose(0, 1)

        decoded = decode_around(len(self.layers), query, references, attend, refine)
        return decoded.last_of(not self.return_intermediate)


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
        mask: Tensor | None,
        encoding: nn.Module,
        query_embed: Tensor | None,
        reg_branches: nn.ModuleList,
        cls_branches: nn.ModuleList,
        refine: bool = False,
    ) -> Decoded:
        """Encode the levels, decode the queries.

        Args:
            feats: (B, C, h, w) of each level.
            mask: (B, H, W), True at padding; None: nowhere.
            encoding: of the positions of cells.
            query_embed: (Q, 2C) positions and contents of the queries; None with two stages.
            reg_branches, cls_branches: of each decoder layer; with two stages the last one is the encoder's.
            refine: each decoder layer refines the boxes of the one before.
        """
        cells = flatten_levels(feats, mask, encoding, self.level_embeds)
        encoded = self.encoder(
            cells.tokens.transpose(0, 1),
            None,
            None,
            query_pos=cells.pos.transpose(0, 1),
            query_key_padding_mask=cells.padding,
            sampling=cells.around(cell_references(cells)),
        )
        memory = cells._replace(tokens=encoded.transpose(0, 1))
        proposals = None
        if query_embed is None:
            (proposals,) = propose(memory, self._project_memory, cls_branches[-1:], reg_branches[-1:])
            best = best_cells(proposals.cls_scores[..., 0], self.two_stage_num_proposals)
            references = pick(proposals.bboxes, best).detach()  # (B, Q, 4)
            query_pos, query = self.pos_trans_norm(self.pos_trans(encode_boxes(references, self.embed_dims))).chunk(
                2, -1
            )
        else:
            query_pos, query = query_embed.expand(len(encoded[0]), -1, -1).chunk(2, dim=-1)  # (B, Q, C)
            references = self.reference_points(query_pos).sigmoid()
        decoded: Decoded = self.decoder(
            query, query_pos, memory, references, refine_with(reg_branches) if refine else None
        )
        return decoded._replace(proposals=proposals)

    def _project_memory(self, memory: Tensor) -> Tensor:
        projected: Tensor = self.enc_output_norm(self.enc_output(memory))
        return projected
