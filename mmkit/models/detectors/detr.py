"""DETR and its descendants with one feature level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidTypeError
from mmkit.models.dense_heads.query.cells import flatten_levels
from mmkit.models.dense_heads.query.dab_detr_head import DABDETRHead
from mmkit.models.dense_heads.query.decoders import AnchorDecoder, ConditionalDecoder, Decoder
from mmkit.models.dense_heads.query.layers import Encoder
from mmkit.models.dense_heads.query.outputs import Decoded
from mmkit.models.dense_heads.query.query_head import build_encoding
from mmkit.models.detectors.query import QueryDetector, QueryDetectorArgs, build_part, init_transformer, require_both
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch

SINE = dict(num_feats=128, normalize=True)


@DETECTORS.register_module()
class DETR(QueryDetector):
    """DETR (arXiv:2005.12872), or Conditional DETR (arXiv:2108.06152): an encoder, learned queries and a decoder.

    Args:
        encoder, decoder: arguments of the two parts of the transformer. Without them the head holds a transformer, to
            which the three arguments below belong, too.
        positional_encoding: of cells; by default a `SinePositionalEncoding`.
        num_queries: Q.
        conditional: the decoder is conditional.

    Others as in `QueryDetector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        encoder: Cfg | None = None,
        decoder: Cfg | None = None,
        positional_encoding: Cfg = SINE,
        num_queries: int = 100,
        conditional: bool = False,
        **kwargs: Unpack[QueryDetectorArgs],
    ) -> None:
        require_both(encoder, decoder)
        built: Encoder | None = build_part(encoder, Encoder)
        super().__init__(backbone, bbox_head, encoder=built, **kwargs)
        self.decoder: Decoder | ConditionalDecoder | None = build_part(
            decoder, ConditionalDecoder if conditional else Decoder
        )
        if built is not None:
            self.positional_encoding = build_encoding(positional_encoding, built.embed_dims)
            self.query_embedding = nn.Embedding(num_queries, built.embed_dims)

    def init_weights(self) -> None:
        super().init_weights()
        init_transformer(self.encoder, self.decoder)

    def transform(self, feats: Sequence[Tensor], mask: Tensor, batch: Batch | None) -> Decoded:
        assert self.encoder is not None and self.decoder is not None
        memory = self.encoder(flatten_levels(feats[-1:], mask, self.positional_encoding))
        query_pos = self.query_embedding.weight.expand(len(mask), -1, -1)  # (B, Q, C)
        decoded: Decoded = self.decoder(torch.zeros_like(query_pos), query_pos, memory)
        return decoded


DETECTORS.register_module('ConditionalDETR', module=DETR, defaults=dict(conditional=True))


@DETECTORS.register_module()
class DABDETR(QueryDetector):
    """DAB-DETR (arXiv:2201.12329): queries are boxes, which each decoder layer refines.

    Args:
        encoder, decoder: arguments of the two parts of the transformer.
        positional_encoding: of cells; by default a `SinePositionalEncoding`.
        num_queries: Q.
        with_random_refpoints: the centres of the boxes start from a uniform distribution.
        num_patterns: contents that every box is tried with; 0: one, which is not learned.

    Others as in `QueryDetector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        encoder: Cfg,
        decoder: Cfg,
        positional_encoding: Cfg = SINE,
        num_queries: int = 100,
        with_random_refpoints: bool = False,
        num_patterns: int = 0,
        **kwargs: Unpack[QueryDetectorArgs],
    ) -> None:
        built: Encoder = build_part(encoder, Encoder, scales_positions=True)
        super().__init__(backbone, bbox_head, encoder=built, **kwargs)
        if not isinstance(self.bbox_head, DABDETRHead):
            raise InvalidTypeError(f'the head must be a DABDETRHead, got {bbox_head}', key='bbox_head')
        self.decoder: AnchorDecoder = build_part(decoder, AnchorDecoder)
        self.positional_encoding = build_encoding(positional_encoding, built.embed_dims)
        self.with_random_refpoints = with_random_refpoints
        self.query_embedding = nn.Embedding(num_queries, 4)
        self.patterns = nn.Embedding(num_patterns, built.embed_dims) if num_patterns else None

    def init_weights(self) -> None:
        super().init_weights()
        init_transformer(self.encoder, self.decoder)
        if self.with_random_refpoints:
            with torch.no_grad():
                centers = self.query_embedding.weight[:, :2]
                centers.copy_(torch.logit(torch.rand_like(centers), eps=1e-5))

    def transform(self, feats: Sequence[Tensor], mask: Tensor, batch: Batch | None) -> Decoded:
        assert self.encoder is not None and isinstance(self.bbox_head, DABDETRHead)
        memory = self.encoder(flatten_levels(feats[-1:], mask, self.positional_encoding))
        anchors = self.query_embedding.weight.sigmoid()  # (Q, 4)
        query = anchors.new_zeros(1, self.encoder.embed_dims) if self.patterns is None else self.patterns.weight
        query, anchors = query.repeat_interleave(len(anchors), dim=0), anchors.repeat(len(query), 1)
        batched = [x.expand(len(mask), -1, -1) for x in (query, anchors)]
        box_logits = self.bbox_head.fc_reg
        decoded: Decoded = self.decoder(*batched, memory, lambda _, states: box_logits(states))
        return decoded
