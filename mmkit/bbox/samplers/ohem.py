"""Online hard example mining."""

from __future__ import annotations

from torch import Tensor

from mmkit.bbox.samplers.base import BaseSampler, SamplingContext
from mmkit.errors import InvalidValueError
from mmkit.registry import BBOX_SAMPLERS


@BBOX_SAMPLERS.register_module()
class OHEMSampler(BaseSampler):
    """Positives and negatives of the greatest loss (arXiv:1604.03540); `sample` needs `hard_losses`.

    Args:
        num: priors to choose.
        pos_fraction: of `num`, at most that many positives; negatives fill up.
        neg_pos_ub: at most that many negatives for each positive; negative: no limit.
        add_gt_as_proposals: put the ground truths before the priors, each matched with itself.
        loss_key: the loss by which priors are ranked; only 'loss_cls' is supported.
    """

    needs_hard_losses = True

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        loss_key: str = 'loss_cls',
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        if loss_key != 'loss_cls':
            raise InvalidValueError(
                f"OHEMSampler ranks by loss_key='loss_cls', {loss_key!r} is not supported", key='loss_key'
            )

    def choose_pos(self, context: SamplingContext, num: int) -> Tensor:
        return _hardest(context, context.positive, num)

    def choose_neg(self, context: SamplingContext, num: int) -> Tensor:
        return _hardest(context, context.negative, num)


def _hardest(context: SamplingContext, gallery: Tensor, num: int) -> Tensor:
    if len(gallery) <= num:
        return gallery
    if context.hard_losses is None or context.assignment.labels is None:
        raise ValueError('OHEMSampler ranks boxes by their loss: sample() needs hard_losses, and gts need labels')
    losses = context.hard_losses(context.bboxes[gallery], context.assignment.labels[gallery])
    return gallery[losses.topk(num).indices]
