from __future__ import annotations

import pytest
import torch

from mmkit.models.dense_heads.query.denoising import CdnQueryGenerator
from tests.models.scenes import meta, truth

SIZE = 20
GTS = [truth(([2, 4, 6, 12], 1), ([0, 0, 10, 10], 0)), truth(([10, 5, 20, 15], 2))]
METAS = [meta(SIZE, SIZE)] * 2
CENTERS = torch.tensor([[0.2, 0.4, 0.2, 0.4], [0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.5, 0.5]])


def generator(**arguments: object) -> CdnQueryGenerator:
    torch.manual_seed(0)
    quiet = dict(label_noise_scale=0.0, box_noise_scale=0.0, group_cfg=dict(dynamic=True, num_dn_queries=4))
    return CdnQueryGenerator(3, 8, **{**quiet, **arguments})


def test_groups_of_positives_and_negatives() -> None:
    """Two objects at most, four pairs: two groups of two positives and two negatives each."""
    queries = generator()(GTS, METAS)
    assert queries.query.shape == (2, 8, 8) and queries.groups.tolist() == [0] * 4 + [1] * 4
    labels, positive, bboxes, _ = queries.targets
    assert labels.tolist() == [[[1, 0, 3, 3] * 2, [2, 3, 3, 3] * 2]]
    assert positive.tolist() == [[[True, True, False, False] * 2, [True, False, False, False] * 2]]
    torch.testing.assert_close(bboxes[0], CENTERS[[0, 1, 0, 1, 2, 2]])


def test_queries_without_noise_are_the_truth() -> None:
    made = generator()
    queries = made(GTS, METAS)
    torch.testing.assert_close(queries.references[0, :4], CENTERS[[0, 1, 0, 1]])
    torch.testing.assert_close(queries.query[0, :2], made.label_embedding.weight[[1, 0]])
    # The second image has one object: the other queries are empty.
    assert (queries.query[1, [1, 3]] == 0).all() and (queries.references[1, [1, 3]] == 0.5).all()


def test_negatives_are_further_away_than_positives() -> None:
    """Corners of positives move by up to half the size, those of negatives by at least that."""
    boxes = torch.tensor([0.4, 0.4, 0.6, 0.6]).expand(1, 50, 2, 1, 4)
    noisy = generator(box_noise_scale=1.0)._noisy_boxes(boxes)[0, :, :, 0]  # (G, positive and negative, 4)
    corners = torch.cat([noisy[..., :2] - noisy[..., 2:] / 2, noisy[..., :2] + noisy[..., 2:] / 2], dim=-1)
    positives, negatives = ((corners - boxes[0, :, :, 0]).abs() / 0.1).unbind(1)
    assert (positives < 1 + 1e-4).all() and (negatives > 1 - 1e-4).all() and (negatives < 2 + 1e-4).all()


def test_labels_flip_at_half_the_noise() -> None:
    made = generator(label_noise_scale=1.0, group_cfg=dict(num_groups=2000))
    changed = (made._noisy_labels(torch.zeros(4000, dtype=torch.long)) != 0).float().mean()
    assert changed == pytest.approx(0.5 * 2 / 3, abs=0.03)  # a random class may be the same


def test_matched_queries_see_no_truth_and_groups_do_not_see_each_other() -> None:
    mask = generator(group_cfg=dict(num_groups=2))([GTS[1]], METAS[:1]).attn_mask(3)
    group, others = [0, 0, 1, 1], [1, 1, 0, 0]
    assert mask.int().tolist() == [[*group, 0, 0, 0]] * 2 + [[*others, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0, 0, 0]] * 3


def test_without_objects_there_are_no_queries() -> None:
    queries = generator()([truth(), truth()], METAS)
    assert queries.query.shape == (2, 0, 8) and queries.references.shape == (2, 0, 4)
    assert queries.targets.bboxes.shape == (1, 0, 4) and queries.attn_mask(2).tolist() == [[False] * 2] * 2


def test_settings_of_groups_are_checked() -> None:
    with pytest.raises(ValueError, match='group_cfg has dynamic, num_dn_queries and num_groups'):
        generator(group_cfg=dict(number=3))
