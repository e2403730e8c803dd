"""Base of heads with queries: one-to-one targets, losses of every decoder layer, predictions without NMS."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, LearnedPositionalEncoding, SinePositionalEncoding
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.levels import probabilities
from mmkit.models.dense_heads.query.outputs import Decoded, QueryOuts, QueryTargets
from mmkit.models.dense_heads.training_settings import DenseTraining
from mmkit.models.losses import uses_sigmoid
from mmkit.models.settings import required, warn_unknown_settings
from mmkit.protocols import Matcher
from mmkit.registry import LOSSES, POSITIONAL_ENCODING, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances
from mmkit.utils.dist import reduce_mean


class QueryHeadArgs(TypedDict, total=False):
    """Arguments that all heads with queries share; see `QueryHead`."""

    sync_cls_avg_factor: bool
    loss_bbox: Cfg
    loss_iou: Cfg
    train_cfg: Cfg | None
    test_cfg: Cfg | None
    init_cfg: InitCfg


@dataclass(frozen=True)
class QueryTraining(DenseTraining):
    """`train_cfg` of a head with queries: `assigner` pairs queries with objects, a sampler has no effect."""

    assigner: Matcher

    def __post_init__(self) -> None:
        if not isinstance(self.assigner, Matcher):
            kind = type(self.assigner).__name__
            raise InvalidTypeError(f'queries need a HungarianAssigner, {kind} does not pair one to one', key='assigner')


def image_sizes(metas: Sequence[ImageMeta], like: Tensor) -> Tensor:
    """(B, 4): width, height, width, height of each image without padding."""
    return like.new_tensor([[meta.img_shape[1], meta.img_shape[0]] * 2 for meta in metas])


def padding_mask(imgs: Tensor, metas: Sequence[ImageMeta]) -> Tensor:
    """(B, H, W) bool, True where the batch is padding."""
    mask = torch.ones(len(imgs), *imgs.shape[-2:], dtype=torch.bool, device=imgs.device)
    for row, meta in zip(mask, metas, strict=True):
        row[: meta.img_shape[0], : meta.img_shape[1]] = False
    return mask


def by_layer(layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Losses of the last layer under their names, those of layer i under `d{i}.`."""
    prefixes = [*(f'd{i}.' for i in range(len(layers) - 1)), '']
    return {prefix + name: loss for prefix, layer in zip(prefixes, layers) for name, loss in layer.items()}


def build_encoding(cfg: Cfg, embed_dims: int) -> nn.Module:
    """Positional encoding of cells for a transformer of width `embed_dims`.

    Raises:
        ValueError: if the encoding has another width.
    """
    encoding: nn.Module = POSITIONAL_ENCODING.build(cfg, type='SinePositionalEncoding')
    if isinstance(encoding, (SinePositionalEncoding, LearnedPositionalEncoding)):
        width = encoding.num_feats
        if width * 2 != embed_dims:
            raise InvalidValueError(
                f'positional_encoding.num_feats must be half of the embed_dims {embed_dims}, got {width}',
                key='positional_encoding',
            )
    return encoding


class QueryHead(BaseModule):
    """Base of heads with queries. A subclass defines `branches`.

    Args:
        num_classes: C, without background.
        loss_cls, loss_bbox, loss_iou: configs or built objects.
        bg_cls_weight: weight of background in the divisor of softmax losses.
        sync_cls_avg_factor: average the divisor of the classification loss over processes.
        train_cfg: see `QueryTraining`.
        test_cfg: `max_per_img`, detections kept per image; by default as many as queries.
        init_cfg: initialisation of the weights.

    Attributes:
        transformer: makes states of features. Those of mmdetection 2.x are parts of the head, as are the embeddings of
            queries; in 3.x they are parts of the detector, and None here.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset
    test_cfg = None  # there is no NMS

    if TYPE_CHECKING:  # that of nn.Module promises nothing

        def __call__(self, feats: Sequence[Tensor], mask: Tensor | None = None) -> QueryOuts: ...

    def __init__(
        self,
        num_classes: int,
        loss_cls: Cfg,
        bg_cls_weight: float = 0.0,
        sync_cls_avg_factor: bool = False,
        loss_bbox: Cfg = dict(type='L1Loss', loss_weight=5.0),
        loss_iou: Cfg = dict(type='GIoULoss', loss_weight=2.0),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = dict(max_per_img=100),
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.transformer: nn.Module | None = None
        self.num_classes = num_classes
        self.sync_cls_avg_factor = sync_cls_avg_factor
        self.bg_cls_weight = bg_cls_weight
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.loss_iou: nn.Module = build_from_cfg(loss_iou, LOSSES)
        self.use_sigmoid_cls = uses_sigmoid(self.loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.max_per_img = self._limit(test_cfg or {})
        self.train_cfg = None
        if train_cfg:
            known = ['cls_scores', 'img_shape']
            self.train_cfg = QueryTraining.from_cfg(train_cfg, type(self).__name__, known, takes_sampler=False)

    def forward(self, feats: Sequence[Tensor], mask: Tensor | None = None) -> QueryOuts:
        """Decode the queries, in a head that holds its transformer.

        Args:
            feats: (B, in_channels, h, w) of each level.
            mask: (B, H, W) bool, True where the images are padded; None: nowhere.
        """
        return self.branches(self.decoded(feats, mask))

    def decoded(self, feats: Sequence[Tensor], mask: Tensor | None) -> Decoded:
        """States of the queries from the head's own transformer."""
        raise NotImplementedError(f'{type(self).__name__} holds no transformer')

    @abstractmethod
    def branches(self, decoded: Decoded) -> QueryOuts:
        """Classes and boxes from the states of the queries."""

    def _limit(self, test_cfg: Cfg) -> int | None:
        """Detections kept per image; None: as many as queries."""
        warn_unknown_settings(test_cfg, ['max_per_img'], 'test_cfg')
        return test_cfg.get('max_per_img')

    # ------------------------------------------------------------------ training

    def loss(self, outs: QueryOuts, batch: Batch) -> dict[str, Tensor]:
        """Losses of the last layer under their names, those of layer i under `d{i}.`."""
        assert batch.gts is not None
        return by_layer(self.matched_losses(outs, batch.gts, batch.metas))

    def matched_losses(
        self, outs: QueryOuts, gts: Sequence[Instances], metas: Sequence[ImageMeta]
    ) -> list[dict[str, Tensor]]:
        """Losses of each layer."""
        cls_scores, bbox_preds = outs.cls_scores.float(), outs.bbox_preds.float()
        targets = self.targets(cls_scores, bbox_preds, gts, metas)
        return self.layer_losses(cls_scores, bbox_preds, targets, metas)

    def layer_losses(
        self, cls_scores: Tensor, bbox_preds: Tensor, targets: QueryTargets, metas: Sequence[ImageMeta]
    ) -> list[dict[str, Tensor]]:
        """Losses of each layer, from logits (L, B, Q, C) and boxes (L, B, Q, 4)."""
        labels, positive, box_targets, counted = targets
        boxes = bbox_preds[positive].view_as(box_targets)  # (L, P, 4)
        sizes = image_sizes(metas, boxes)[:, None].expand_as(bbox_preds)[positive].view_as(boxes)
        num_pos = boxes.new_tensor(float(boxes.shape[1]))
        cls_factor = num_pos + (labels[0].numel() - num_pos) * self.bg_cls_weight
        if self.sync_cls_avg_factor:
            cls_factor = reduce_mean(cls_factor)
        cls_factor, num_pos = cls_factor.clamp(min=1), reduce_mean(num_pos).clamp(min=1)
        weights = torch.ones_like(labels, dtype=torch.float) if counted is None else counted.float()
        pixels, pixel_targets = cxcywh_to_xyxy(boxes) * sizes, cxcywh_to_xyxy(box_targets) * sizes
        return [
            dict(
                loss_cls=self.loss_cls(
                    cls_scores[i].flatten(0, 1), labels[i].flatten(), weights[i].flatten(), avg_factor=cls_factor
                ),
                loss_bbox=self.loss_bbox(boxes[i], box_targets[i], avg_factor=num_pos),
                loss_iou=self.loss_iou(pixels[i], pixel_targets[i], avg_factor=num_pos),
            )
            for i in range(len(labels))
        ]

    @torch.no_grad()
    def targets(
        self, cls_scores: Tensor, bbox_preds: Tensor, gts: Sequence[Instances], metas: Sequence[ImageMeta]
    ) -> QueryTargets:
        """Targets of logits (L, B, Q, C) and boxes (L, B, Q, 4), matched once for all images and layers."""
        matcher = required(self.train_cfg, 'train_cfg', self).assigner
        matched = matcher.match_batch(cls_scores, bbox_preds, gts, [meta.img_shape for meta in metas])
        return self.matched_targets(matched, gts, image_sizes(metas, bbox_preds))

    def matched_targets(self, matched: Tensor, gts: Sequence[Instances], sizes: Tensor) -> QueryTargets:
        """Targets of queries that are matched (L, B, Q) with an object of their image, by index, or -1, with none.

        Args:
            sizes: (B, 4), see `image_sizes`.
        """
        positive = matched >= 0  # (L, B, Q)
        counts = [len(each) for each in gts]
        starts = matched.new_tensor([sum(counts[:i]) for i in range(len(counts))])  # (B,) first object of each image
        objects = (matched + starts[:, None])[positive]  # (L*P,) into the objects of all images
        gt_boxes = torch.cat([xyxy_to_cxcywh(each.bboxes / size) for each, size in zip(gts, sizes, strict=True)])
        labels = torch.full_like(matched, self.num_classes)
        labels[positive] = torch.cat([each.labels for each in gts if each.labels is not None])[objects]
        return QueryTargets(labels, positive, gt_boxes[objects].view(len(labels), len(objects) // len(labels), 4))

    # ------------------------------------------------------------------ prediction

    def decode(self, outs: QueryOuts, metas: Sequence[ImageMeta]) -> tuple[Tensor, Tensor]:
        """Boxes and scores of all queries of the last layer.

        Returns:
            (B, Q, 4) boxes xyxy in pixels of the network's input, clipped to the images, and (B, Q, C) scores, which
            are 0 for queries that are not distinct.
        """
        scores = probabilities(outs.cls_scores[-1].float(), self.use_sigmoid_cls)
        if outs.counted is not None:
            scores = scores * outs.counted[-1][..., None]
        bboxes = outs.bbox_preds[-1].float()
        sizes = image_sizes(metas, bboxes)[:, None]
        return torch.minimum((cxcywh_to_xyxy(bboxes) * sizes).clamp(min=0), sizes), scores

    def predict(
        self,
        outs: QueryOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, best first; `cfg` overrides the head's `test_cfg`."""
        limit = self.max_per_img if cfg is None else self._limit(cfg)
        all_bboxes, all_scores = self.decode(outs, metas)
        detections = []
        for bboxes, scores, meta in zip(all_bboxes, all_scores, metas, strict=True):
            best, labels, queries = self.select(scores, len(scores) if limit is None else limit)
            if rescale:
                bboxes = bboxes / bboxes.new_tensor(meta.scale_factor)
            detections.append(Instances(bboxes=bboxes[queries], labels=labels, scores=best))
        return detections

    def select(self, scores: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, labels and queries (K,) of the best of (Q, C) scores, at most `limit`.

        With sigmoid a query may be selected with several classes.
        """
        if self.use_sigmoid_cls:
            best, inds = scores.flatten().topk(min(limit, scores.numel()))
            return best, inds % self.num_classes, inds // self.num_classes
        best_of_query, labels = scores.max(-1)
        best, queries = best_of_query.topk(min(limit, len(scores)))
        return best, labels[queries], queries
