"""Queries made of noisy ground truth, to learn from beside those that are matched (DINO, arXiv:2203.03605)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mmkit.bbox.boxes import xyxy_to_cxcywh
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule
from mmkit.models.dense_heads.query.outputs import QueryTargets
from mmkit.models.dense_heads.query.query_head import image_sizes
from mmkit.models.dense_heads.query.references import inverse_sigmoid
from mmkit.registry import Cfg
from mmkit.structures import ImageMeta, Instances


class DenoisingQueries(NamedTuple):
    """T queries of each image, and what they are to become.

    Attributes:
        query: (B, T, C) contents.
        references: (B, T, 4) cx cy w h in 0..1.
        groups: (T,) group of each; queries don't see those of other groups.
        targets: of one layer.
    """

    query: Tensor
    references: Tensor
    groups: Tensor
    targets: QueryTargets

    def attn_mask(self, num_others: int) -> Tensor:
        """(T + Q, T + Q) bool, True where a query must not look, with Q matched queries behind these.

        Matched queries see none of the ground truth, nor does a group see another.
        """
        groups = torch.cat([self.groups, self.groups.new_full((num_others,), -1)])
        is_denoising = groups >= 0
        return is_denoising[None, :] & (groups[:, None] != groups[None, :])


class CdnQueryGenerator(BaseModule):
    """Contrastive denoising queries: groups with a positive and a negative query for each object of an image.

    Args:
        num_classes: C.
        embed_dims: channels of queries.
        label_noise_scale: a positive or negative query gets a random class with half this probability.
        box_noise_scale: 1: corners of positives move by up to half the size of their box, those of negatives by half to
            the whole size.
        group_cfg: with `dynamic`, there are as many groups as make about `num_dn_queries` pairs (100); otherwise
            `num_groups`.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        label_noise_scale: float = 0.5,
        box_noise_scale: float = 1.0,
        group_cfg: Cfg = dict(dynamic=True),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.label_noise_scale = label_noise_scale
        self.box_noise_scale = box_noise_scale
        self.num_pairs: int | None = group_cfg.get('num_dn_queries', 100) if group_cfg.get('dynamic') else None
        self.num_groups: int = group_cfg.get('num_groups') or 1
        unknown = set(group_cfg) - {'dynamic', 'num_dn_queries', 'num_groups'}
        if unknown or self.num_groups < 1 or (self.num_pairs or 1) < 1:
            message = f'group_cfg has dynamic, num_dn_queries and num_groups, numbers of at least 1; got {group_cfg}'
            raise InvalidValueError(message, key='group_cfg')
        self.label_embedding = nn.Embedding(num_classes, embed_dims)

    def forward(self, gts: Sequence[Instances], metas: Sequence[ImageMeta]) -> DenoisingQueries:
        """Queries of B images; those with fewer objects than others get empty ones."""
        sizes = image_sizes(metas, gts[0].bboxes)
        labels = pad_sequence([_labels(each) for each in gts], batch_first=True)  # (B, K)
        boxes = pad_sequence([each.bboxes / size for each, size in zip(gts, sizes, strict=True)], batch_first=True)
        real = pad_sequence([torch.ones_like(_labels(each), dtype=torch.bool) for each in gts], batch_first=True)
        num_groups = self.num_groups if self.num_pairs is None else max(1, self.num_pairs // max(1, labels.shape[1]))
        shape = (len(gts), num_groups, 2, labels.shape[1])  # B, G, positive and negative, K
        labels, boxes, real = (x[:, None, None].expand(*shape, *x.shape[2:]) for x in (labels, boxes, real))
        positive = real.clone()
        positive[:, :, 1] = False
        query = self.label_embedding(self._noisy_labels(labels)) * real[..., None]
        # The logit of an empty query is 0, too.
        references = (inverse_sigmoid(self._noisy_boxes(boxes), eps=1e-3) * real[..., None]).sigmoid()
        groups = torch.arange(num_groups, device=real.device).repeat_interleave(2 * labels.shape[-1])
        targets = QueryTargets(
            labels=torch.where(positive, labels, self.num_classes).flatten(1)[None],
            positive=positive.flatten(1)[None],
            bboxes=xyxy_to_cxcywh(boxes[positive])[None],
        )
        return DenoisingQueries(query.flatten(1, 3), references.flatten(1, 3), groups, targets)

    def _noisy_labels(self, labels: Tensor) -> Tensor:
        change = torch.rand_like(labels, dtype=torch.float) < self.label_noise_scale * 0.5
        return torch.where(change, torch.randint_like(labels, self.num_classes), labels)

    def _noisy_boxes(self, boxes: Tensor) -> Tensor:
        """(B, G, 2, K, 4) cx cy w h in 0..1, of boxes xyxy in 0..1: positives, then negatives."""
        half = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 1, 1, 2) / 2
        shift = torch.rand_like(boxes)
        shift[:, :, 1] += 1
        shift = shift * (torch.randint_like(boxes, 2) * 2 - 1)
        return xyxy_to_cxcywh((boxes + shift * half * self.box_noise_scale).clamp(0, 1))


def _labels(gts: Instances) -> Tensor:
    assert gts.labels is not None
    return gts.labels
