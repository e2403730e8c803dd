"""DETR's head: a set of queries, matched one to one with the objects, arXiv:2005.12872."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkit.bbox.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from mmkit.layers import BaseModule
from mmkit.layers.transformer import FFN
from mmkit.models.dense_heads.training_settings import dense_assigner, refuse_sampler
from mmkit.models.settings import warn_unknown_settings
from mmkit.registry import HEADS, LOSSES, POSITIONAL_ENCODING, TRANSFORMER, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances
from mmkit.utils.dist import reduce_mean


@dataclass
class QueryTargets:
    """What the Q queries of B images should say."""

    labels: Tensor  # (B, Q), background is num_classes
    bboxes: Tensor  # (B, Q, 4) normalised cx cy w h; zeros at negatives
    positive: Tensor  # (B, Q) bool


@dataclass
class QueryOutputs:
    """Class logits (L, B, Q, C or C+1) and boxes (L, B, Q, 4), normalised cx cy w h, of L decoder layers."""

    cls_scores: Tensor
    bbox_preds: Tensor


def image_sizes(metas: Sequence[ImageMeta], like: Tensor) -> Tensor:
    """(B, 4): width, height, width, height of each image without padding."""
    return like.new_tensor([[meta.img_shape[1], meta.img_shape[0]] * 2 for meta in metas])


def padding_mask(imgs: Tensor, metas: Sequence[ImageMeta]) -> Tensor:
    """(B, H, W) bool, True where the batch is padding."""
    mask = torch.ones(len(imgs), *imgs.shape[-2:], dtype=torch.bool, device=imgs.device)
    for row, meta in zip(mask, metas, strict=True):
        row[: meta.img_shape[0], : meta.img_shape[1]] = False
    return mask


def resize_mask(mask: Tensor, feat: Tensor) -> Tensor:
    """(B, H, W) mask at the cells of a (B, C, h, w) level."""
    return functional.interpolate(mask[:, None].float(), size=feat.shape[-2:])[:, 0].bool()


class QueryHead(BaseModule):
    """What heads of queries share: one-to-one targets, losses of every layer, predictions without NMS.

    A subclass makes `QueryOutputs` in its `forward`.

    Args:
        num_classes: C, without background.
        num_query: Q.
        sync_cls_avg_factor: average the divisor of the classification loss over processes.
        bg_cls_weight: weight of background in the divisor (softmax losses).
    """

    def __init__(
        self,
        num_classes: int,
        num_query: int,
        sync_cls_avg_factor: bool,
        loss_cls: Mapping[str, Any],
        loss_bbox: Mapping[str, Any],
        loss_iou: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None,
        test_cfg: Mapping[str, Any] | None,
        init_cfg: Mapping[str, Any] | None,
        bg_cls_weight: float = 0.0,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.num_query = num_query
        self.sync_cls_avg_factor = sync_cls_avg_factor
        self.bg_cls_weight = bg_cls_weight
        self.loss_cls = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox = build_from_cfg(loss_bbox, LOSSES)
        self.loss_iou = build_from_cfg(loss_iou, LOSSES)
        self.use_sigmoid_cls = bool(getattr(self.loss_cls, 'use_sigmoid', False))
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        warn_unknown_settings(test_cfg or {}, ('max_per_img',), 'test_cfg')
        self.max_per_img = (test_cfg or {}).get('max_per_img', num_query)
        if train_cfg:
            warn_unknown_settings(train_cfg, ('assigner', 'sampler'), 'train_cfg')
            refuse_sampler(train_cfg, type(self).__name__)
            self.assigner = dense_assigner(train_cfg, type(self).__name__, ['cls_scores', 'img_shape'])

    # ------------------------------------------------------------------ training

    def loss(self, outs: QueryOutputs, batch: Batch) -> dict[str, Tensor]:
        """The last layer's losses under their names, those of layer i under `d{i}.`."""
        assert batch.gts is not None
        losses: dict[str, Tensor] = {}
        last = len(outs.cls_scores) - 1
        for layer, (cls_scores, bbox_preds) in enumerate(zip(outs.cls_scores, outs.bbox_preds, strict=True)):
            prefix = '' if layer == last else f'd{layer}.'
            found = self.layer_loss(cls_scores.float(), bbox_preds.float(), batch.gts, batch.metas)
            losses.update({prefix + name: value for name, value in found.items()})
        return losses

    def layer_loss(
        self, cls_scores: Tensor, bbox_preds: Tensor, gts: Sequence[Instances], metas: Sequence[ImageMeta]
    ) -> dict[str, Tensor]:
        """Losses of one layer's (B, Q, C) scores and (B, Q, 4) boxes."""
        targets = self.targets(cls_scores, bbox_preds, gts, metas)
        num_pos = targets.positive.sum().float()
        avg_factor = num_pos + (targets.positive.numel() - num_pos) * self.bg_cls_weight
        if self.sync_cls_avg_factor:
            avg_factor = reduce_mean(avg_factor)
        loss_cls = self.loss_cls(
            cls_scores.reshape(-1, self.cls_out_channels),
            targets.labels.flatten(),
            torch.ones_like(targets.labels, dtype=torch.float).flatten(),
            avg_factor=avg_factor.clamp(min=1),
        )
        num_pos = reduce_mean(num_pos).clamp(min=1)
        sizes = image_sizes(metas, bbox_preds)[:, None].expand_as(bbox_preds)
        preds, wanted = bbox_preds[targets.positive], targets.bboxes[targets.positive]
        sizes = sizes[targets.positive]
        return dict(
            loss_cls=loss_cls,
            loss_bbox=self.loss_bbox(preds, wanted, avg_factor=num_pos),
            loss_iou=self.loss_iou(cxcywh_to_xyxy(preds) * sizes, cxcywh_to_xyxy(wanted) * sizes, avg_factor=num_pos),
        )

    @torch.no_grad()
    def targets(
        self, cls_scores: Tensor, bbox_preds: Tensor, gts: Sequence[Instances], metas: Sequence[ImageMeta]
    ) -> QueryTargets:
        found = QueryTargets(
            labels=torch.full(cls_scores.shape[:2], self.num_classes, dtype=torch.long, device=cls_scores.device),
            bboxes=torch.zeros_like(bbox_preds),
            positive=torch.zeros(cls_scores.shape[:2], dtype=torch.bool, device=cls_scores.device),
        )
        sizes = image_sizes(metas, bbox_preds)
        for i, (image_gts, meta) in enumerate(zip(gts, metas, strict=True)):
            matched = self.assigner.assign(
                bbox_preds[i], image_gts, cls_scores=cls_scores[i], img_shape=meta.img_shape
            ).gt_inds
            positive = matched >= 0
            found.positive[i] = positive
            found.labels[i, positive] = image_gts.labels[matched[positive]]
            found.bboxes[i, positive] = xyxy_to_cxcywh(image_gts.bboxes[matched[positive]] / sizes[i])
        return found

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        outs: QueryOutputs,
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """The best queries of the last layer, at most `max_per_img`."""
        limit = self.max_per_img if cfg is None else cfg['max_per_img']
        return [
            self._predict_image(scores.float(), bboxes.float(), meta, limit, rescale)
            for scores, bboxes, meta in zip(outs.cls_scores[-1], outs.bbox_preds[-1], metas, strict=True)
        ]

    def _predict_image(
        self, cls_scores: Tensor, bboxes: Tensor, meta: ImageMeta, limit: int, rescale: bool
    ) -> Instances:
        if self.use_sigmoid_cls:
            probs = cls_scores.sigmoid().flatten()
            scores, inds = probs.topk(min(limit, len(probs)))
            labels, queries = inds % self.num_classes, inds // self.num_classes
        else:
            best, best_labels = cls_scores.softmax(-1)[:, :-1].max(-1)
            scores, queries = best.topk(min(limit, len(best)))
            labels = best_labels[queries]
        size = image_sizes([meta], bboxes)[0]
        bboxes = torch.minimum((cxcywh_to_xyxy(bboxes[queries]) * size).clamp(min=0), size)
        if rescale:
            bboxes = bboxes / bboxes.new_tensor(meta.scale_factor)
        return Instances(bboxes=bboxes, labels=labels, scores=scores)


@HEADS.register_module()
class DETRHead(QueryHead):
    """One level, an encoder and a decoder, two small branches.

    Args:
        in_channels: of the level.
        num_reg_fcs: hidden linear layers of the box branch.
        loss_cls: a softmax loss may give `class_weight` (all classes) and `bg_cls_weight` (background).
        train_cfg: `assigner`; `test_cfg`: `max_per_img`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_query: int = 100,
        num_reg_fcs: int = 2,
        transformer: Mapping[str, Any] | None = None,
        sync_cls_avg_factor: bool = False,
        positional_encoding: Mapping[str, Any] = dict(type='SinePositionalEncoding', num_feats=128, normalize=True),
        loss_cls: Mapping[str, Any] = dict(
            type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0
        ),
        loss_bbox: Mapping[str, Any] = dict(type='L1Loss', loss_weight=5.0),
        loss_iou: Mapping[str, Any] = dict(type='GIoULoss', loss_weight=2.0),
        train_cfg: Mapping[str, Any] | None = dict(
            assigner=dict(
                type='HungarianAssigner',
                cls_cost=dict(type='ClassificationCost', weight=1.0),
                reg_cost=dict(type='BBoxL1Cost', weight=5.0),
                iou_cost=dict(type='IoUCost', iou_mode='giou', weight=2.0),
            )
        ),
        test_cfg: Mapping[str, Any] | None = dict(max_per_img=100),
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        loss_cls = dict(loss_cls)
        class_weight = loss_cls.get('class_weight')
        bg_cls_weight = loss_cls.pop('bg_cls_weight', class_weight)
        if class_weight is not None:
            loss_cls['class_weight'] = [class_weight] * num_classes + [bg_cls_weight]
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
            bg_cls_weight=bg_cls_weight or 0.0,
        )
        self.positional_encoding = build_from_cfg(positional_encoding, POSITIONAL_ENCODING)
        self.transformer = build_from_cfg(transformer, TRANSFORMER)
        dims = self.transformer.embed_dims
        check_encoding(self.positional_encoding, dims)
        self.input_proj = nn.Conv2d(in_channels, dims, 1)
        self.fc_cls = nn.Linear(dims, self.cls_out_channels)
        self.reg_ffn = FFN(dims, dims, num_reg_fcs, add_identity=False)
        self.fc_reg = nn.Linear(dims, 4)
        self.query_embedding = nn.Embedding(num_query, dims)

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> QueryOutputs:
        """One (B, in_channels, h, w) level and the (B, H, W) padding of the images."""
        feat = self.input_proj(feats[-1])
        small = resize_mask(mask, feat)
        decoded = self.transformer(feat, small, self.query_embedding.weight, self.positional_encoding(small))
        return QueryOutputs(self.fc_cls(decoded), self.fc_reg(self.reg_ffn(decoded).relu()).sigmoid())


def check_encoding(encoding: Any, dims: int) -> None:
    if encoding.num_feats * 2 != dims:
        raise ValueError(
            f'positional_encoding.num_feats must be half of the embed_dims {dims}, got {encoding.num_feats}'
        )
