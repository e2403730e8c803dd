"""Head of probabilistic anchor assignment, arXiv:2007.08103."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.bbox import bbox_overlaps
from mmkit.bbox.ranks import ranks_in_groups
from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.anchor.atss_head import ATSSHead, ATSSOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs
from mmkit.models.dense_heads.detections import (
    LevelPredictions,
    PostProcessing,
    best_of_levels,
    finish_predictions,
)
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels, level_numbers
from mmkit.models.settings import required
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances
from mmkit.structures.assignment import BACKGROUND

_VOTING_WIDTH = 0.025  # sigma of the paper's equation 11
_LEAST_VARIANCE = 1e-6


class Candidates(NamedTuple):
    """Anchors of an image that overlap an object enough, P of N, before the losses decide among them."""

    inds: Tensor  # (P,) of the anchors
    gt_inds: Tensor  # (P,)
    weights: Tensor  # (N,) 1 for candidates and for background, 0 for what is ignored


def split_by_two_gaussians(values: Tensor, max_steps: int = 100, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
    """A mixture of two Gaussians fitted to numbers by expectation maximisation, from the least and the greatest.

    Args:
        values: (n,) numbers, at least 2.
        max_steps: of the iteration.
        tolerance: the iteration ends when the mean log-likelihood gains less.

    Returns:
        (n,) bool, True where the component that began at the least is the more probable; (n,) log-likelihoods.
    """
    x = values.double()
    means = torch.stack([x.min(), x.max()])
    variances, shares = torch.ones_like(means), torch.full_like(means, 0.5)
    previous = -math.inf
    joint = _log_joint(x, means, variances, shares)
    for _ in range(max_steps):
        likelihood = joint.logsumexp(dim=1)
        if likelihood.mean() - previous < tolerance:
            break
        previous = float(likelihood.mean())
        resp = (joint - likelihood[:, None]).exp()  # (n, 2)
        counts = resp.sum(dim=0) + 1e-15
        shares = counts / len(x)
        means = resp.T @ x / counts
        variances = (resp * (x[:, None] - means) ** 2).sum(dim=0) / counts + _LEAST_VARIANCE
        joint = _log_joint(x, means, variances, shares)
    return joint[:, 0] >= joint[:, 1], joint.logsumexp(dim=1)


def _log_joint(x: Tensor, means: Tensor, variances: Tensor, shares: Tensor) -> Tensor:
    """(n, 2) logarithms of share times density."""
    squares = (x[:, None] - means) ** 2 / variances
    return shares.log() - 0.5 * (squares + variances.log() + math.log(2 * math.pi))


@HEADS.register_module()
class PAAHead(ATSSHead):
    """ATSS's layers; the anchors whose losses are the lower ones of a mixture of two Gaussians are positive.

    The third prediction is the IoU of the box. A score is the root of the product of probability and IoU.

    Args:
        topk: candidates of an object on each level, those with the least loss.
        score_voting: detections become means of the boxes around them.
        covariance_type: 'diag', 'full' or 'spherical', which are the same for one number.

    Others as in `ATSSHead`; `loss_centerness` is that of the IoU.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        topk: int = 9,
        score_voting: bool = True,
        covariance_type: str = 'diag',
        stacked_convs: int = 4,
        pred_kernel_size: int = 3,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        loss_centerness: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        if covariance_type not in ('diag', 'full', 'spherical'):
            message = f"PAAHead: covariance_type is 'diag', 'full' or 'spherical', got {covariance_type!r}"
            raise InvalidValueError(message, key='covariance_type')
        super().__init__(
            num_classes,
            in_channels,
            pred_kernel_size=pred_kernel_size,
            stacked_convs=stacked_convs,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            loss_centerness=loss_centerness,
            **kwargs,
        )
        self.topk = topk
        self.score_voting = score_voting

    # ------------------------------------------------------------------ training

    def loss(self, outs: ATSSOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        cls_scores, bbox_preds, iou_preds = outs
        levels = self.anchors(cls_scores)
        anchors = torch.cat(levels)  # (N, 4)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        deltas = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)
        iou_logits = flatten_levels(iou_preds, 1).float().squeeze(-1)  # (B, N)
        level = level_numbers(levels)  # (N,)

        labels = torch.full(scores.shape[:2], self.num_classes, device=scores.device)  # (B, N)
        weights, gt_bboxes = torch.ones_like(iou_logits), torch.zeros_like(deltas)
        for image, gts in enumerate(batch.gts):
            candidates = self._candidates(anchors, featmap_sizes(cls_scores), batch, image)
            weights[image] = candidates.weights
            if not len(candidates.inds):
                continue
            assert gts.labels is not None
            losses = self._anchor_losses(scores[image], deltas[image], anchors, candidates, gts)
            chosen = self._separate(losses, candidates, level[candidates.inds])
            inds, gt_inds = candidates.inds[chosen], candidates.gt_inds[chosen]
            labels[image, inds], gt_bboxes[image, inds] = gts.labels[gt_inds], gts.bboxes[gt_inds]

        positive = labels < self.num_classes  # (B, N) with P positives
        num_pos = int(positive.sum())
        loss_cls = self.loss_cls(
            scores.flatten(0, 1), labels.flatten(), weights.flatten(), avg_factor=max(num_pos, len(batch))
        )
        boxes = self.positive_boxes(deltas, anchors, positive)
        ious = bbox_overlaps(boxes.detach(), gt_bboxes[positive], is_aligned=True).clamp(min=1e-12)  # (P,)
        loss_iou = self.loss_centerness(iou_logits[positive], ious, avg_factor=max(num_pos, 1))
        least = torch.finfo(ious.dtype).eps  # without positives
        loss_bbox = self.loss_bbox(boxes, gt_bboxes[positive], ious, avg_factor=ious.sum().clamp(min=least))
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_iou=loss_iou)

    @torch.no_grad()
    def _candidates(self, anchors: Tensor, sizes: Sequence[tuple[int, int]], batch: Batch, image: int) -> Candidates:
        settings = required(self.train_cfg, 'train_cfg', self)
        assert batch.gts is not None
        inds = torch.cat(self.inside(anchors, sizes, batch.metas[image], settings)).nonzero().squeeze(1)
        gt_inds = settings.assigner.assign(anchors[inds], batch.gts[image], batch.ignored_regions[image]).gt_inds
        weights = anchors.new_zeros(len(anchors))
        weights[inds[gt_inds >= BACKGROUND]] = 1.0
        matched = gt_inds >= 0
        return Candidates(inds[matched], gt_inds[matched], weights)

    @torch.no_grad()
    def _anchor_losses(
        self, scores: Tensor, deltas: Tensor, anchors: Tensor, candidates: Candidates, gts: Instances
    ) -> Tensor:
        """(P,) sum of the losses of class and box of each candidate."""
        assert gts.labels is not None
        inds = candidates.inds
        labels, bboxes = gts.labels[candidates.gt_inds], gts.bboxes[candidates.gt_inds]
        boxes = self.bbox_coder.decode(anchors[inds], deltas[inds])
        of_class: Tensor = self.loss_cls(scores[inds], labels, reduction_override='none')
        of_box: Tensor = self.loss_bbox(boxes, bboxes, reduction_override='none')
        return of_class.flatten(1).sum(dim=1) + of_box

    def _separate(self, losses: Tensor, candidates: Candidates, levels: Tensor) -> Tensor:
        """(P,) bool: the candidates on `levels` (P,) that become positive.

        Of each object, those that are more probable under the mixture's lower part, up to the most typical of them.
        """
        groups = levels * (candidates.gt_inds.max() + 1) + candidates.gt_inds
        best = (ranks_in_groups(-losses, groups) < self.topk).nonzero().squeeze(1)
        best = best[losses[best].argsort()]
        # The mixtures are fitted to few numbers in many steps, at each of which a GPU would have to be waited for.
        costs, gt_inds = losses[best].cpu(), candidates.gt_inds[best].cpu()
        positive = torch.zeros_like(costs, dtype=torch.bool)
        for gt in gt_inds.unique():
            rows = (gt_inds == gt).nonzero().squeeze(1)
            if len(rows) > 1:
                is_lower, likelihoods = split_by_two_gaussians(costs[rows])
                rows = rows[is_lower]
                rows = rows[: int(likelihoods[is_lower].argmax()) + 1] if len(rows) else rows
            positive[rows] = True
        chosen = torch.zeros_like(losses, dtype=torch.bool)
        chosen[best] = positive.to(chosen.device)
        return chosen

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: ATSSOuts) -> list[LevelPredictions]:
        """A score is the root of the class probability times the IoU."""
        levels = super().level_predictions(outs)
        return [level._replace(scores=level.final_scores.sqrt(), factors=None) for level in levels]

    def predict(
        self,
        outs: ATSSOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        if not self.score_voting:
            return super().predict(outs, metas, cfg, rescale=rescale)
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        levels, detections = self.level_predictions(outs), []
        for image, meta in enumerate(metas):
            best = best_of_levels(levels, self.decode_boxes, image, meta, settings)
            candidates = Instances(bboxes=best.bboxes, labels=best.labels, scores=best.scores)
            kept = finish_predictions(candidates, meta, settings, rescale=rescale)
            scale = candidates.bboxes.new_tensor(meta.scale_factor) if rescale else 1.0
            detections.append(vote(kept, replace(candidates, bboxes=candidates.bboxes / scale)))
        return detections


def vote(detections: Instances, candidates: Instances) -> Instances:
    """Detections (M) moved to the mean of the candidates (K) of their class around them, by score and overlap."""
    if not len(detections):
        return detections
    assert candidates.scores is not None and candidates.labels is not None and detections.labels is not None
    ious = bbox_overlaps(detections.bboxes, candidates.bboxes)  # (M, K)
    votes = candidates.scores * (-((1 - ious) ** 2) / _VOTING_WIDTH).exp()
    votes = votes * (ious > 0.01) * (detections.labels[:, None] == candidates.labels)
    return replace(detections, bboxes=votes @ candidates.bboxes / votes.sum(dim=1, keepdim=True))
