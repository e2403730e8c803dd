"""Region proposal network with guided anchors, arXiv:1901.03278."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.anchor.guided_anchor_head import GuidedAnchorArgs, GuidedAnchorHead, GuidedOuts
from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.dense_heads.proposals import propose, propose_static
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances


@HEADS.register_module()
class GARPNHead(GuidedAnchorHead):
    """Objectness and deltas of every guided anchor.

    Args:
        in_channels: channels of every input level.
        num_classes: 1, the object; anything else is an error.

    Others as in `GuidedAnchorHead`.
    """

    compares_classes = False  # tells objects from background only

    def __init__(self, in_channels: int, num_classes: int = 1, **kwargs: Unpack[GuidedAnchorArgs]) -> None:
        if num_classes != 1:
            message = f'GARPNHead tells object from background: num_classes must be 1, got {num_classes}'
            raise InvalidValueError(message, key='num_classes')
        super().__init__(num_classes, in_channels, **kwargs)

    def _init_layers(self) -> None:
        self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        self._guided_layers(self.feat_channels)

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return super().forward_single(self.rpn_conv(feat).relu())

    def loss(self, outs: GuidedOuts, batch: Batch) -> dict[str, Tensor]:
        losses = super().loss(outs, batch)
        return dict(
            loss_rpn_cls=losses['loss_cls'],
            loss_rpn_bbox=losses['loss_bbox'],
            loss_anchor_shape=losses['loss_shape'],
            loss_anchor_loc=losses['loss_loc'],
        )

    def predict(
        self,
        outs: GuidedOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Proposals of each image; see `propose`."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        return propose(self.likely_predictions(outs), self.decode_boxes, metas, settings, rescale=rescale)

    def decode_proposals(self, outs: GuidedOuts, metas: Sequence[ImageMeta]) -> Tensor:
        """See `propose_static`."""
        settings = PostProcessing.from_cfg(self.test_cfg)
        return propose_static(self.likely_predictions(outs), self.decode_boxes, metas, settings)
