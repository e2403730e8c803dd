from __future__ import annotations

import numpy as np
import pytest

from mmkit.errors import InvalidValueError
from mmkit.transforms import CopyPaste


@pytest.fixture
def make_pair(make_sample):
    def make(own, other, seed=0):
        sample, pasted = make_sample(bboxes=own, seed=seed), make_sample(bboxes=other)
        pasted['img'] = pasted['img'] // 2  # 100 inside
        pasted['gt_labels'] = pasted['gt_labels'] + 5
        return {**sample, 'mix_results': [pasted]}

    return make


def test_pasted_objects_cover_others(make_pair):
    # of the first object 10 of 20 columns are left, of the second nothing, the third is untouched
    own = [(10, 5, 30, 25), (22, 6, 30, 14), (40, 30, 50, 38)]
    sample = CopyPaste(selected=False, mask_occluded_thr=199)(make_pair(own, [(20, 5, 36, 30)]))
    assert sample['gt_bboxes'].tolist() == [[10, 5, 20, 25], [40, 30, 50, 38], [20, 5, 36, 30]]
    assert sample['gt_labels'].tolist() == [0, 2, 5] and sample['gt_masks'].areas.tolist() == [200, 80, 400]
    assert (sample['img'][5:30, 20:36] == 100).all() and (sample['img'][5:25, 10:20] == 200).all()
    strict = CopyPaste(selected=False, mask_occluded_thr=200, bbox_occluded_thr=9)(make_pair(own, [(20, 5, 36, 30)]))
    assert strict['gt_labels'].tolist() == [2, 5]


def test_some_or_no_objects_are_drawn(make_pair):
    counts = {
        len(CopyPaste()(make_pair([(0, 0, 9, 9)], [(20, 5, 36, 30), (40, 5, 44, 9)], seed))['gt_bboxes'])
        for seed in range(30)
    }
    assert counts == {1, 2, 3}
    assert len(CopyPaste(max_num_pasted=1)(make_pair([(0, 0, 9, 9)], [(20, 5, 36, 30)]))['gt_bboxes']) == 1
    assert len(CopyPaste(selected=False)(make_pair((), ()))['gt_bboxes']) == 0


def test_boxes_may_stand_for_masks(make_pair):
    sample = make_pair([(10, 5, 30, 25)], [(20, 5, 36, 30)])
    for each in (sample, sample['mix_results'][0]):
        del each['gt_masks']
    with pytest.raises(InvalidValueError, match='paste_by_box=True'):
        CopyPaste(selected=False)(sample)
    pasted = CopyPaste(selected=False, paste_by_box=True)(sample)
    assert pasted['gt_bboxes'].tolist() == [[10, 5, 20, 25], [20, 5, 36, 30]] and 'gt_masks' not in pasted
    sample['mix_results'][0]['img'] = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(InvalidValueError, match='one size'):
        CopyPaste()(sample)
