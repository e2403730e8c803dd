"""FreeAnchor's head, arXiv:1909.02466."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
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


class BagLosses(NamedTuple):
    """Losses of one image, not averaged yet."""

    positive: Tensor  # (G,) of the bag of each object
    negative: Tensor  # () of all anchors


@HEADS.register_module()
class FreeAnchorRetinaHead(RetinaHead):
    """RetinaNet's head, whose anchors aren't assigned: each object has a bag of them, and the best learn to detect it.

    Args:
        stacked_convs, conv_cfg, norm_cfg: of the towers, as in `RetinaHead`.
        pre_anchor_topk: anchors in the bag of an object, those that it overlaps most.
        bbox_thr: IoU of a predicted box with an object above which it may be that object, which spares the anchor as
            background.
        gamma: power of the probability that weighs the background.
        alpha: weight of the objects; that of the background is 1 - alpha.

    Others as in `BaseAnchorHead`. The assigner of `train_cfg` and `loss_cls`, a sigmoid one, have no effect otherwise.

    Raises:
        InvalidValueError: for classes with a softmax.
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
            raise InvalidValueError('FreeAnchorRetinaHead: loss_cls must be of sigmoids', key='loss_cls')
        self.pre_anchor_topk = pre_anchor_topk
        self.bbox_thr = bbox_thr
        self.gamma = gamma
        self.alpha = alpha

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        anchors = torch.cat(self.anchors(outs.cls_scores))  # (N, 4)
        probs = flatten_levels(outs.cls_scores, self.num_classes).float().sigmoid()  # (B, N, C)
        deltas = flatten_levels(outs.bbox_preds, 4).float()  # (B, N, 4)
        images = [self.bag_losses(anchors, *image) for image in zip(probs, deltas, batch.gts, strict=True)]
        num_gts = max(sum(len(gts) for gts in batch.gts), 1)
        return dict(
            positive_bag_loss=torch.cat([each.positive for each in images]).sum() / num_gts + 0 * deltas.sum(),
            negative_bag_loss=torch.stack([each.negative for each in images]).sum() / (num_gts * self.pre_anchor_topk),
        )

    def bag_losses(self, anchors: Tensor, probs: Tensor, deltas: Tensor, gts: Instances) -> BagLosses:
        """Losses of one image, from anchors (N, 4), probabilities (N, C) and deltas (N, 4)."""
        spared = self.box_probs(anchors, deltas, gts)  # (N, C)
        wrong = (probs * (1 - spared)).clamp(_EPS, 1 - 1e-7)
        background = -((1 - wrong).log() * wrong**self.gamma).sum()
        detected = self._detected(anchors, probs, deltas, gts) if len(gts) else probs[:0]  # (G, K)
        return BagLosses(-self.alpha * mean_max(detected).clamp(min=_EPS).log(), (1 - self.alpha) * background)

    def _detected(self, anchors: Tensor, probs: Tensor, deltas: Tensor, gts: Instances) -> Tensor:
        """(G, K) how probable it is that an anchor in the bag of an object detects it: its class times its box."""
        assert gts.labels is not None
        overlaps = bbox_overlaps(gts.bboxes, anchors)  # (G, N)
        bags = overlaps.topk(min(self.pre_anchor_topk, len(anchors)), dim=1).indices  # (G, K)
        targets = self.bbox_coder.encode(
            anchors[bags].flatten(0, 1), gts.bboxes[:, None].expand(-1, bags.shape[1], -1).flatten(0, 1)
        )
        losses: Tensor = self.loss_bbox(deltas[bags].flatten(0, 1), targets, reduction_override='none')  # (G * K, 4)
        return probs[bags, gts.labels[:, None]] * (-losses.sum(dim=-1)).exp().reshape(bags.shape)

    @torch.no_grad()
    def box_probs(self, anchors: Tensor, deltas: Tensor, gts: Instances) -> Tensor:
        """(N, C) how probable it is that the boxes predicted from the anchors are objects of a class."""
        assert gts.labels is not None
        probs = deltas.new_zeros(len(anchors), self.num_classes)
        if not len(gts):
            return probs
        overlaps = bbox_overlaps(self.bbox_coder.decode(anchors, deltas), gts.bboxes)  # (N, G)
        best = overlaps.amax(dim=0).clamp(min=self.bbox_thr + _EPS)  # (G,)
        of_objects = ((overlaps - self.bbox_thr) / (best - self.bbox_thr).clamp(min=_EPS)).clamp(0, 1)
        return probs.scatter_reduce(1, gts.labels.expand_as(of_objects), of_objects, 'amax')


def mean_max(probs: Tensor) -> Tensor:
    """(G,) means of probabilities (G, K), which tend to the greatest of them as that tends to 1."""
    weights = 1 / (1 - probs).clamp(min=_EPS)
    return (weights / weights.sum(dim=1, keepdim=True) * probs).sum(dim=1)
