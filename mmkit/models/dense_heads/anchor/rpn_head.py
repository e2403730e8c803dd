"""Region proposal network, arXiv:1506.01497."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import ConvModule
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead, AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.ops import batched_nms
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
        """Proposals of each image: the best of each level, NMS within each level, the best of all levels."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        levels = self.level_predictions(outs)
        return [
            finish_proposals(*self._candidates(levels, image, meta, settings), meta, settings, rescale)
            for image, meta in enumerate(metas)
        ]

    def decode_proposals(self, outs: AnchorOuts, metas: Sequence[ImageMeta]) -> Tensor:
        """Proposals (B, P, 4) in pixels of the network's input, where P doesn't depend on the image, for export.

        They are those of `predict`, but where NMS leaves fewer than `max_per_img`, the best of the others fill up.
        """
        settings = PostProcessing.from_cfg(self.test_cfg)
        levels = self.level_predictions(outs)
        proposals = []
        for image, meta in enumerate(metas):
            bboxes, scores, level_inds = self._candidates(levels, image, meta, settings)
            large = ((bboxes[:, 2:] - bboxes[:, :2]) > settings.min_bbox_size).all(dim=1)
            scores = torch.where(large, scores, scores - 1)  # below all others, whom they cannot suppress
            _, keep = batched_nms(bboxes, scores, level_inds, settings.nms)
            survives = torch.zeros_like(large).index_fill(0, keep, True)
            limit = settings.max_per_img if settings.max_per_img > 0 else len(bboxes)
            best = torch.where(survives, scores, scores - 2).topk(min(limit, len(bboxes))).indices
            proposals.append(bboxes[best])
        return torch.stack(proposals)

    def _candidates(
        self, levels: Sequence[LevelPredictions], image: int, meta: ImageMeta, cfg: PostProcessing
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best boxes (K, 4) of each level, their scores (K,) and levels (K,)."""
        bboxes, scores, level_inds = [], [], []
        for number, level in enumerate(levels):
            best, inds = level.scores[image, :, 0], torch.arange(len(level.priors), device=level.scores.device)
            if 0 < cfg.nms_pre < len(best):  # topk would order equal scores differently, and NMS sees it
                best, inds = (each[: cfg.nms_pre] for each in best.sort(descending=True))
            bboxes.append(self.decode_boxes(level.priors[inds], level.box_preds[image, inds], meta.img_shape))
            scores.append(best)
            level_inds.append(torch.full_like(inds, number))
        return torch.cat(bboxes), torch.cat(scores), torch.cat(level_inds)


def finish_proposals(
    bboxes: Tensor, scores: Tensor, levels: Tensor, meta: ImageMeta, cfg: PostProcessing, rescale: bool
) -> Instances:
    """Proposals of one image from the candidates (K, 4), (K,), (K,) of all levels, best first."""
    if cfg.min_bbox_size >= 0:
        keep = ((bboxes[:, 2:] - bboxes[:, :2]) > cfg.min_bbox_size).all(dim=1)
        bboxes, scores, levels = bboxes[keep], scores[keep], levels[keep]
    if len(bboxes):
        dets, _ = batched_nms(bboxes, scores, levels, cfg.nms)
        dets = dets[: cfg.max_per_img] if cfg.max_per_img > 0 else dets
        bboxes, scores = dets[:, :4], dets[:, 4]
    if rescale:
        bboxes = bboxes / bboxes.new_tensor(meta.scale_factor)
    return Instances(bboxes=bboxes, scores=scores, labels=torch.zeros_like(scores, dtype=torch.long))
