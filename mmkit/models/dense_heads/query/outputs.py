"""Outputs and targets of detectors with queries."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class QueryTargets(NamedTuple):
    """Training targets of Q queries in L layers and B images; each layer has P positives.

    Attributes:
        labels: (L, B, Q), background is num_classes.
        positive: (L, B, Q) bool.
        bboxes: (L, P, 4) normalised cx cy w h, in the order of `positive`.
        counted: (L, B, Q) bool, the queries of whose classes there is a loss; None: all.
    """

    labels: Tensor
    positive: Tensor
    bboxes: Tensor
    counted: Tensor | None = None


class Proposals(NamedTuple):
    """Class logits (B, P, C) and boxes (B, P, 4), cx cy w h in 0..1, of cells, from the encoder."""

    cls_scores: Tensor
    bboxes: Tensor


class Decoded(NamedTuple):
    """Output of a decoder of L layers.

    Attributes:
        states: (L, B, Q, C) after each layer.
        references: (B, Q, 2 or 4) of each layer: what its boxes are predicted relative to; none for absolute boxes.
            Points become boxes when they are refined.
        proposals: of the encoder, with two stages.
        denoising: targets of one layer of the T queries in front, if those were made of noisy ground truth.
        dense: the encoder's proposals from which the last D queries started, if those have branches of their own.
        counted: (L, B, Q) bool, the queries between these that are distinct; None: all.
    """

    states: Tensor
    references: list[Tensor]
    proposals: Proposals | None = None
    denoising: QueryTargets | None = None
    dense: Proposals | None = None
    counted: Tensor | None = None

    def part(self, queries: slice) -> Decoded:
        """With the states of these queries only."""
        return self._replace(states=self.states[:, :, queries], references=[x[:, queries] for x in self.references])

    def last_of(self, only_last: bool) -> Decoded:
        """Those of the last layer, if only it is asked for."""
        return self._replace(states=self.states[-1:], references=self.references[-1:]) if only_last else self


class Denoised(NamedTuple):
    """Logits (L, B, T, C) and boxes (L, B, T, 4) of queries made of noisy ground truth, and their targets."""

    cls_scores: Tensor
    bbox_preds: Tensor
    targets: QueryTargets


class QueryOuts(NamedTuple):
    """Predictions of queries; boxes are normalised cx cy w h.

    Attributes:
        cls_scores: (L, B, Q, C or C+1) logits of L decoder layers.
        bbox_preds: (L, B, Q, 4) boxes.
        enc_cls_scores: (B, P, C) logits of the encoder, in a head of two stages.
        enc_bbox_preds: (B, P, 4) its boxes.
        denoised: of further queries, in training.
        dense: logits (L+1, B, D, C) and boxes (L+1, B, D, 4) of still others; the last are the encoder's.
        counted: (L, B, Q) bool, the queries that are distinct; None: all.
    """

    cls_scores: Tensor
    bbox_preds: Tensor
    enc_cls_scores: Tensor | None = None
    enc_bbox_preds: Tensor | None = None
    denoised: Denoised | None = None
    dense: tuple[Tensor, Tensor] | None = None
    counted: Tensor | None = None
