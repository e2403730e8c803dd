from __future__ import annotations

import math

import pytest
import torch

from mmkit.bbox.coders import BucketingBBoxCoder


def coder(**arguments):
    return BucketingBBoxCoder(**dict(num_buckets=4, scale_factor=2.0) | arguments)


PRIOR = torch.tensor([[10.0, 20, 20, 40]])  # scaled: 5 .. 25 with buckets of 5, and 10 .. 50 with buckets of 10


def test_targets_by_hand():
    box = torch.tensor([[8.0, 15, 19, 30]])
    (buckets, offsets), (bucket_weights, weights) = (
        coder().split(each[0]) for each in coder().encode_weighted(PRIOR, box)
    )
    # Middles: left 7.5, 12.5; right 22.5, 17.5; top 15, 25; bottom 45, 35.
    torch.testing.assert_close(offsets, torch.tensor([[-0.1, 0.9], [0.7, -0.3], [0, 1], [1.5, 0.5]]))
    assert buckets.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert weights.tolist() == [[1, 1], [1, 1], [1, 0], [0, 1]]  # the second nearest only within one bucket
    assert bucket_weights.tolist() == [[1, 0], [0, 1], [1, 1], [1, 1]]
    all_count = coder(cls_ignore_neighbor=False, offset_topk=1).encode_weighted(PRIOR, box)[1]
    assert all_count.tolist() == [[1] * 8 + [1, 0, 0, 1, 1, 0, 0, 1]]
    assert coder().encode(PRIOR, box).equal(coder().encode_weighted(PRIOR, box)[0])


@pytest.mark.parametrize('num_buckets', [4, 7, 14])
def test_decoding_inverts_encoding(num_buckets):
    box = torch.tensor([[8.0, 15, 19, 30], [11, 18, 25, 41]])
    used = coder(num_buckets=num_buckets)
    priors = PRIOR.expand(2, 4)
    torch.testing.assert_close(used.decode(priors, used.encode(priors, box)), box)


def test_boxes_are_clipped_where_the_shape_is_known():
    box = torch.tensor([[8.0, 15, 19, 30]])
    targets = coder().encode(PRIOR, box)
    assert coder().decode(PRIOR, targets, max_shape=(25, 12)).tolist() == [[8, 15, 12, 25]]
    assert coder(clip_border=False).decode(PRIOR, targets, max_shape=(25, 12))[0].tolist() == pytest.approx(
        [8, 15, 19, 30]
    )


def test_confidence_counts_a_neighbour():
    used = coder(num_buckets=6)  # S = 3
    scores = torch.zeros(4, 3)
    scores[0] = torch.tensor([0.6, 0.3, 0.1]).log()  # neighbours: 0.9
    scores[1] = torch.tensor([0.6, 0.1, 0.3]).log()  # no neighbours: 0.6
    scores[2:] = torch.tensor([0.1, 0.2, 0.7]).log()  # 0.9
    preds = torch.cat([scores.flatten(), torch.zeros(12)])
    assert used.confidence(preds).item() == pytest.approx((0.9 + 0.6 + 0.9 + 0.9) / 4)
    assert used.confidence(preds.expand(2, 5, 24)).shape == (2, 5)


def test_no_boxes():
    none = torch.zeros(0, 4)
    targets, weights = coder().encode_weighted(none, none)
    assert targets.shape == weights.shape == (0, 16)
    assert coder().decode(none, targets, (10, 10)).shape == (0, 4)
    assert math.prod(coder().confidence(targets).shape) == 0


def test_what_is_refused():
    with pytest.raises(ValueError, match='offset_topk'):
        coder(offset_topk=3)
