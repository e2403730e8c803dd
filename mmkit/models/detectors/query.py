"""Base of detectors with queries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, MultiScaleDeformableAttention
from mmkit.models.dense_heads.query.layers import Encoder
from mmkit.models.dense_heads.query.outputs import Decoded, QueryOuts
from mmkit.models.dense_heads.query.query_head import QueryHead, padding_mask
from mmkit.models.detectors.base import Detector, DetectorArgs
from mmkit.registry import HEADS, TRANSFORMER_LAYER_SEQUENCE, Cfg
from mmkit.structures import Batch, Instances


class QueryDetectorArgs(DetectorArgs, total=False):
    """Arguments of all detectors with queries; see `QueryDetector`."""

    train_cfg: Cfg | None
    test_cfg: Cfg | None


class QueryDetector(Detector):
    """Base of detectors with a transformer between features and a head of queries. A subclass defines `transform`.

    Args:
        bbox_head: config of a head with queries.
        train_cfg, test_cfg: the settings of the head.
        encoder: of the cells of features; None if the head holds the transformer, as in mmdetection 2.x.
        head_arguments: of the head, where its config has no others, besides its width.

    Others as in `Detector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        encoder: Encoder | None,
        head_arguments: Cfg = dict(),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        **kwargs: Unpack[DetectorArgs],
    ) -> None:
        super().__init__(backbone, **kwargs)
        self.encoder = encoder
        widths = {} if encoder is None else dict(embed_dims=encoder.embed_dims)
        head = HEADS.build(bbox_head, train_cfg=train_cfg, test_cfg=test_cfg, **widths, **head_arguments)
        if not isinstance(head, QueryHead):
            raise InvalidTypeError(f'{type(head).__name__} is no head with queries', key='bbox_head')
        if (encoder is None) == (head.transformer is None):
            found = 'both have' if encoder is not None else 'neither has'
            message = (
                f'the transformer is either the encoder and decoder of the detector or that of the head; {found} one'
            )
            raise InvalidValueError(message, key='encoder')
        self.bbox_head = head

    @abstractmethod
    def transform(self, feats: Sequence[Tensor], mask: Tensor, batch: Batch | None) -> Decoded:
        """States of the queries.

        Args:
            feats: (B, C, h, w) of each level.
            mask: (B, H, W) bool, True where the images are padded.
            batch: in training, for those that learn from noisy ground truths, too.
        """

    def _outs(self, batch: Batch, learn: bool = False) -> QueryOuts:
        feats, mask = self.extract_feat(batch.imgs), padding_mask(batch.imgs, batch.metas)
        if self.encoder is None:
            return self.bbox_head(feats, mask)
        return self.bbox_head.branches(self.transform(feats, mask, batch if learn else None))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.bbox_head.loss(self._outs(batch, learn=True), batch)

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        batch = self.preprocess(batch)
        return self.bbox_head.decode(self._outs(batch), batch.metas)

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return self.bbox_head.predict(self._outs(batch), batch.metas, rescale=rescale)


def build_part(cfg: Cfg | None, kind: type[BaseModule], **arguments: Any) -> Any:
    """The encoder or decoder of a `kind` that the config need not name; None without a config."""
    return None if cfg is None else TRANSFORMER_LAYER_SEQUENCE.build(cfg, type=kind, **arguments)


def require_both(encoder: Cfg | None, decoder: Cfg | None) -> None:
    """Refuse one half of a transformer."""
    if (encoder is None) != (decoder is None):
        raise InvalidValueError('a transformer has an encoder and a decoder, got one of the two', key='decoder')


def init_transformer(*parts: nn.Module | None) -> None:
    """Xavier for everything with more than one dimension; deformable attention as it starts."""
    for part in parts:
        for parameter in part.parameters() if part is not None else ():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in part.modules() if part is not None else ():
            if isinstance(module, MultiScaleDeformableAttention):
                module.reset()
