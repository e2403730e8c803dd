"""FreeAnchor: learning to match anchors, arXiv:1909.02466."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmkit.bbox import bbox_overlaps
from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, AnchorTraining
from mmkit.models.dense_heads.anchor.retina_head import RetinaHead
from mmkit.models.dense_heads.levels import flatten_levels
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, Instances

_EPS = 1e-12


@HEADS.register_module()
class FreeAnchorRetinaHead(RetinaHead):
    """RetinaNet's towers; which of the anchors near an object is to predict it is learned with the likelihood.

    Args:
        pre_anchor_topk: anchors in the bag of an object, those that overlap it most.
        bbox_thr: predicted boxes are background for certain up to this overlap with an object.
        gamma: power of the probability of negatives.
        alpha: weight of positives, 1 - alpha of negatives.
        loss_cls: tells that classes are independent, which they must be; the loss is this head's own.
        train_cfg: has no effect, anchors are not assigned.

    Others as in `RetinaHead`.
    """

    training_settings: ClassVar[type[AnchorTraining]] = AnchorTraining

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        pre_anchor_topk: int = 50,
        bbox_thr: float = 0.6,
        gamma: float = 2.0,
        alpha: float = 0.5,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        super().__init__(num_classes, in_channels, stacked_convs, conv_cfg, norm_cfg, **kwargs)
        if not self.use_sigmoid_cls:
            raise InvalidValueError('FreeAnchorRetinaHead: loss_cls needs use_sigmoid=True', key='loss_cls')
        if self.reg_decoded_bbox:
            raise InvalidValueError('FreeAnchorRetinaHead: the box loss compares deltas', key='reg_decoded_bbox')
        self.pre_anchor_topk = pre_anchor_topk
        self.bbox_thr = bbox_thr
        self.gamma = gamma
        self.alpha = alpha

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        anchors = torch.cat(self.anchors(outs.cls_scores))  # (N, 4)
        probabilities = flatten_levels(outs.cls_scores, self.cls_out_channels).float().sigmoid()  # (B, N, C)
        deltas = flatten_levels(outs.bbox_preds, 4).float()  # (B, N, 4)
        num_objects = max(sum(len(gts) for gts in batch.gts), 1)
        with torch.autocast(probabilities.device.type, enabled=False):  # no cross entropy of probabilities under it
            positive = torch.cat(
                [self._bag_losses(*image, anchors) for image in zip(probabilities, deltas, batch.gts, strict=True)]
            )  # (K,) of the objects of all images
            taken = torch.stack(
                [self.object_probabilities(each, gts, anchors) for each, gts in zip(deltas, batch.gts, strict=True)]
            )
            free = (probabilities * (1 - taken)).clamp(_EPS, 1 - _EPS)  # (B, N, C)
            negative = free**self.gamma * F.binary_cross_entropy(free, torch.zeros_like(free), reduction='none')
        return dict(
            positive_bag_loss=self.alpha * positive.sum() / num_objects,
            negative_bag_loss=(1 - self.alpha) * negative.sum() / (num_objects * self.pre_anchor_topk),
        )

    def _bag_losses(self, probabilities: Tensor, deltas: Tensor, gts: Instances, anchors: Tensor) -> Tensor:
        """(K,) for each object of an image: how unlikely it is that an anchor of its bag predicts it.

        Args:
            probabilities: (N, C).
            deltas: (N, 4).
            gts: the K objects.
            anchors: (N, 4).
        """
        assert gts.labels is not None
        overlaps = bbox_overlaps(gts.bboxes, anchors)  # (K, N)
        bags = overlaps.topk(min(self.pre_anchor_topk, len(anchors)), dim=1).indices  # (K, M)
        targets = self.bbox_coder.encode(anchors[bags], gts.bboxes[:, None].expand(*bags.shape, 4))
        box_losses = self.loss_bbox(deltas[bags], targets, reduction_override='none')
        likelihoods = probabilities[bags, gts.labels[:, None]] * (-box_losses.sum(dim=-1)).exp()  # (K, M)
        weights = 1 / (1 - likelihoods).clamp(min=_EPS)
        means = (weights / weights.sum(dim=1, keepdim=True) * likelihoods).sum(dim=1)  # near the greatest, once sure
        return F.binary_cross_entropy(means, torch.ones_like(means), reduction='none')

    @torch.no_grad()
    def object_probabilities(self, deltas: Tensor, gts: Instances, anchors: Tensor) -> Tensor:
        """(N, C) how certainly the predicted box of each anchor is on an object of each class.

        Args:
            deltas: (N, 4).
            gts: the objects.
            anchors: (N, 4).
        """
        shape = (self.num_classes, len(anchors))
        if not len(gts):
            return deltas.new_zeros(shape).T
        assert gts.labels is not None
        overlaps = bbox_overlaps(gts.bboxes, self.bbox_coder.decode(anchors, deltas))  # (K, N)
        best = overlaps.amax(dim=1, keepdim=True).clamp(min=self.bbox_thr + _EPS)
        of_objects = ((overlaps - self.bbox_thr) / (best - self.bbox_thr)).clamp(0, 1)
        rows = gts.labels[:, None].expand_as(of_objects)
        return deltas.new_zeros(shape).scatter_reduce(0, rows, of_objects, 'amax').T
