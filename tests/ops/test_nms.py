from __future__ import annotations

import math

import pytest
import torch

from mmkit.ops import batched_nms, check_nms, nms, nms_match, set_nms, soft_nms

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]])
SCORES = torch.tensor([0.8, 0.9, 0.7])


def test_nms_drops_the_worse_of_two_that_overlap():
    dets, keep = nms(BOXES, SCORES, 0.5)
    assert keep.tolist() == [1, 2]
    assert torch.equal(dets, torch.cat([BOXES[[1, 2]], SCORES[[1, 2], None]], 1))


def test_nms_limits():
    assert nms(BOXES, SCORES, 0.9)[1].tolist() == [1, 0, 2]
    assert nms(BOXES, SCORES, 0.9, max_num=1)[1].tolist() == [1]
    assert nms(BOXES, SCORES, 0.9, score_threshold=0.75)[1].tolist() == [1, 0]


def test_nms_offset_counts_the_last_pixel():
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1]])  # touch: IoU 0, or 2 / 6 when pixels are counted
    scores = torch.tensor([0.9, 0.8])
    assert len(nms(boxes, scores, 0.3)[1]) == 2
    assert len(nms(boxes, scores, 0.3, offset=1)[1]) == 1
    with pytest.raises(ValueError, match='offset'):
        nms(boxes, scores, 0.3, offset=2)


@pytest.mark.parametrize('method, score', [('linear', 0.8 * 0.2), ('gaussian', 0.8 * math.exp(-0.64 / 0.5))])
def test_soft_nms_lowers_scores(method, score):
    dets, keep = soft_nms(BOXES, SCORES, 0.3, method=method)  # IoU of the first two is 0.8
    assert keep.tolist() == [1, 2, 0]
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, score])


def test_soft_nms_naive_is_hard_and_min_score_drops():
    assert soft_nms(BOXES, SCORES, 0.5, method='naive')[1].tolist() == [1, 2]
    assert soft_nms(BOXES, SCORES, 0.3, min_score=0.2)[1].tolist() == [1, 2]
    assert soft_nms(BOXES, SCORES, 0.3, max_num=1)[1].tolist() == [1]
    with pytest.raises(ValueError, match='cubic'):
        soft_nms(BOXES, SCORES, method='cubic')


def test_batched_nms_keeps_classes_apart():
    idxs = torch.tensor([0, 1, 1])
    dets, keep = batched_nms(BOXES, SCORES, idxs, dict(type='nms', iou_threshold=0.5))
    assert keep.tolist() == [1, 0, 2]
    assert torch.equal(dets[:, :4], BOXES[keep])
    assert batched_nms(BOXES, SCORES, idxs, dict(iou_thr=0.5), class_agnostic=True)[1].tolist() == [1, 2]
    assert batched_nms(BOXES, SCORES, idxs, dict(iou_threshold=0.5, class_agnostic=True))[1].tolist() == [1, 2]


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_splitting_changes_nothing(kind):
    torch.manual_seed(0)
    boxes = torch.rand(60, 4) * 20
    boxes[:, 2:] += boxes[:, :2] + 5
    scores, idxs = torch.rand(60), torch.randint(0, 4, (60,))
    whole, keep = batched_nms(boxes, scores, idxs, dict(type=kind, iou_threshold=0.4))
    split, keep_split = batched_nms(boxes, scores, idxs, dict(type=kind, iou_threshold=0.4, split_thr=10))
    assert torch.equal(keep, keep_split)
    assert torch.allclose(whole, split, atol=1e-5)
    assert len(batched_nms(boxes, scores, idxs, dict(type=kind, iou_threshold=0.4, split_thr=10, max_num=7))[1]) == 7


def test_empty_unknown_and_none():
    nothing = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long)
    dets, keep = batched_nms(*nothing, dict(type='nms', iou_threshold=0.5))
    assert dets.shape == (0, 5) and keep.shape == (0,)
    assert soft_nms(*nothing[:2])[0].shape == (0, 5)
    with pytest.raises(ValueError, match='nms_match'):
        batched_nms(*nothing, dict(type='nms_match'))
    assert batched_nms(BOXES, SCORES, torch.zeros(3), None)[1].tolist() == [1, 0, 2]


def test_mistakes_show_without_boxes():
    check_nms(None)
    check_nms(dict(iou_threshold=0.5))
    check_nms(dict(type='soft_nms', iou_thr=0.5, min_score=0.1, class_agnostic=True, split_thr=100))
    with pytest.raises(ValueError, match="'nms' or 'soft_nms', got 'nsm'"):
        check_nms(dict(type='nsm'))
    with pytest.raises(TypeError, match="nms has no argument 'min_score', it takes iou_threshold, offset"):
        check_nms(dict(min_score=0.5))


def test_set_nms_spares_the_boxes_of_a_set():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [20, 20, 30, 30.0]])
    scores, nothing = torch.tensor([0.7, 0.9, 0.8, 0.1]), torch.zeros(0)

    def kept(idxs, sets, threshold=0.5):
        return set_nms(boxes, scores, torch.tensor(idxs), torch.tensor(sets), threshold).tolist()

    assert kept([0, 0, 0, 0], [0, 1, 1, 2]) == [1, 2, 3]  # the two of set 1, both against the one of set 0
    assert kept([0, 0, 0, 0], [0, 1, 2, 3]) == [1, 3]
    assert kept([1, 0, 0, 0], [0, 1, 2, 3]) == [0, 1, 3]
    assert kept([0, 0, 0, 0], [1, 0, 1, 2]) == [1, 3]  # a set protects from its own members only
    assert kept([0, 0, 0, 0], [0, 1, 2, 3], 0.95) == [0, 1, 2, 3]
    assert set_nms(boxes[:0], nothing, nothing, nothing, 0.5).shape == (0,)


def test_groups_of_a_box_and_what_it_suppresses():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [30, 0, 40, 10], [0, 0, 10, 8], [50, 0, 50, 0]])
    groups = nms_match(boxes, torch.tensor([0.5, 0.9, 0.7, 0.6, 0.1]), iou_threshold=0.5)
    assert groups.tolist() == [0, 0, 1, 0, 2]
    assert nms_match(boxes[:0], boxes[:0, 0], iou_threshold=0.5).tolist() == []
