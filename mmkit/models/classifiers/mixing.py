"""Images of a batch mixed with others of it, and their labels likewise, in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import one_hot
from mmkit.registry import BATCH_AUGMENTS, Cfg
from mmkit.structures import Batch


def _drawn_share(alpha: float) -> float:
    """A share in 0..1, of the distribution Beta(alpha, alpha)."""
    return float(torch.distributions.Beta(alpha, alpha).sample())


def _check_alpha(alpha: float, name: str) -> float:
    if alpha <= 0:
        raise InvalidValueError(f'alpha of {name} is above 0, got {alpha}', key='alpha')
    return alpha


def _labels(batch: Batch) -> Tensor:
    if batch.gt_labels is None:
        raise InvalidValueError('images are mixed with their labels, and the batch has none')
    return batch.gt_labels


@BATCH_AUGMENTS.register_module()
class Mixup(nn.Module):
    """Weighted means of two images and of their labels (arXiv:1710.09412).

    Args:
        alpha: the weight of an image is of the distribution Beta(alpha, alpha).
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = _check_alpha(alpha, 'Mixup')

    def forward(self, batch: Batch) -> Batch:
        """The batch mixed with a permutation of itself; its labels are (B, C) shares."""
        share, order = _drawn_share(self.alpha), torch.randperm(len(batch)).to(batch.imgs.device)
        labels = _labels(batch)
        return replace(
            batch, imgs=batch.imgs.lerp(batch.imgs[order], 1 - share), gt_labels=labels.lerp(labels[order], 1 - share)
        )


@BATCH_AUGMENTS.register_module()
class CutMix(nn.Module):
    """A rectangle of another image, and the share of its label that the rectangle covers (arXiv:1905.04899).

    Args:
        alpha: the share of the image around the rectangle is of the distribution Beta(alpha, alpha).
        correct_lam: shares of labels are those of pixels, also where the rectangle is cut off at the border.
    """

    def __init__(self, alpha: float, correct_lam: bool = True) -> None:
        super().__init__()
        self.alpha = _check_alpha(alpha, 'CutMix')
        self.correct_lam = correct_lam

    def forward(self, batch: Batch) -> Batch:
        """The batch mixed with a permutation of itself; its labels are (B, C) shares."""
        share, order = _drawn_share(self.alpha), torch.randperm(len(batch)).to(batch.imgs.device)
        size = torch.tensor(batch.imgs.shape[-2:])
        half = size * (1 - share) ** 0.5 / 2
        centre = torch.rand(2) * size
        low = (centre - half).clamp(min=0).int().tolist()
        high = torch.minimum(centre + half, size).int().tolist()
        imgs = batch.imgs.clone()
        imgs[..., low[0] : high[0], low[1] : high[1]] = batch.imgs[order][..., low[0] : high[0], low[1] : high[1]]
        if self.correct_lam:
            share = 1 - (high[0] - low[0]) * (high[1] - low[1]) / float(size.prod())
        labels = _labels(batch)
        return replace(batch, imgs=imgs, gt_labels=labels.lerp(labels[order], 1 - share))


class BatchMixture(nn.Module):
    """One of several ways of mixing, drawn anew for each batch.

    Args:
        num_classes: C.
        augments: classes of BATCH_AUGMENTS and their arguments; one or several.
        probs: of each; what they lack to 1 is the probability that a batch stays as it is. None: all alike.

    Raises:
        InvalidValueError: for probabilities that are not one for each way, or exceed 1 in sum.
    """

    def __init__(self, num_classes: int, augments: Cfg | Sequence[Cfg], probs: Sequence[float] | None = None) -> None:
        super().__init__()
        cfgs = [augments] if isinstance(augments, Mapping) else augments
        self.num_classes = num_classes
        self.ways = nn.ModuleList(BATCH_AUGMENTS.build(cfg) for cfg in cfgs)
        self.probs = [1 / len(cfgs)] * len(cfgs) if probs is None else list(probs)
        if len(self.probs) != len(cfgs) or min(self.probs) < 0 or sum(self.probs) > 1 + 1e-6:
            raise InvalidValueError(
                f'probs are one for each of {len(cfgs)} augments, and at most 1 in sum, got {probs}', key='probs'
            )

    def forward(self, batch: Batch) -> Batch:
        """The batch with labels (B, C) in place of (B,)."""
        batch = replace(batch, gt_labels=one_hot(_labels(batch), self.num_classes))
        rest = max(1 - sum(self.probs), 0.0)
        chosen = int(torch.multinomial(torch.tensor([*self.probs, rest], dtype=torch.float32), 1))
        mixed: Batch = self.ways[chosen](batch) if chosen < len(self.ways) else batch
        return mixed
