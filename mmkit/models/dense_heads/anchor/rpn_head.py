"""Region proposal network, arXiv:1506.01497."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import ConvModule
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead, AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, AnchorTraining
from mmkit.models.dense_heads.detections import PostProcessing
from mmkit.models.dense_heads.proposals import propose, propose_static
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances


@HEADS.register_module()
class RPNHead(AnchorHead):
    """Objectness and deltas of every anchor.

    Args:
        in_channels: channels of every input level.
        num_convs: 3x3 convolutions before the two 1x1 ones; with more than one, each is followed by a ReLU.
        num_classes: 1, the object; anything else is an error.

    Others as in `BaseAnchorHead`.
    """

    compares_classes = False  # tells objects from background only
    training_settings = AnchorTraining

    def __init__(
        self,
        in_channels: int,
        num_convs: int = 1,
        num_classes: int = 1,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        if num_classes != 1:
            raise InvalidValueError(
                f'RPNHead tells object from background: num_classes must be 1, got {num_classes}', key='num_classes'
            )
        self.num_convs = num_convs
        super().__init__(num_classes, in_channels, **kwargs)

    def _init_layers(self) -> None:
        if self.num_convs > 1:
            widths = [self.in_channels, *[self.feat_channels] * self.num_convs]
            self.rpn_conv: nn.Module = nn.Sequential(
                *[ConvModule(a, b, 3, padding=1, inplace=False) for a, b in zip(widths[:-1], widths[1:], strict=True)]
            )
        else:
            self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 1)

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        feat = self.rpn_conv(feat).relu()
        return self.rpn_cls(feat), self.rpn_reg(feat)

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        losses = super().loss(outs, batch)
        return dict(loss_rpn_cls=losses['loss_cls'], loss_rpn_bbox=losses['loss_bbox'])

    def predict(
        self,
        outs: AnchorOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Proposals of each image; see `propose`."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        return propose(self.level_predictions(outs), self.decode_boxes, metas, settings, rescale=rescale)

    def decode_proposals(self, outs: AnchorOuts, metas: Sequence[ImageMeta]) -> Tensor:
        """See `propose_static`."""
        settings = PostProcessing.from_cfg(self.test_cfg)
        return propose_static(self.level_predictions(outs), self.decode_boxes, metas, settings)
