from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.structures import BitmapMasks, EncodedMasks, Instances, PolygonMasks, rescaled_size


def bitmap(*boxes: tuple[int, int, int, int], height: int = 6, width: int = 8) -> BitmapMasks:
    """One filled rectangle (x1, y1, x2, y2) a mask."""
    masks = np.zeros((len(boxes), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = 1
    return BitmapMasks(masks, height, width)


def polygons(*boxes: tuple[int, int, int, int], height: int = 6, width: int = 8) -> PolygonMasks:
    return PolygonMasks([[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes], height, width)


KINDS = [bitmap, polygons]


def test_rescaled_size_fits_into_two_lengths_and_rounds_half_up():
    assert rescaled_size(480, 640, (1333, 800)) == (800, 1067)
    assert rescaled_size(480, 640, (800, 1333)) == (800, 1067)
    assert rescaled_size(5, 9, 0.5) == (3, 5)
    with pytest.raises(ValueError, match='cannot scale'):
        rescaled_size(4, 4, 0)


@pytest.mark.parametrize('make', KINDS)
def test_areas_and_boxes(make):
    masks = make((1, 2, 4, 5), (0, 0, 8, 6))
    assert masks.areas.tolist() == [9, 48]
    assert masks.get_bboxes().tolist() == [[1, 2, 4, 5], [0, 0, 8, 6]]
    assert masks.to_tensor().sum((1, 2)).tolist() == [9, 48]


@pytest.mark.parametrize('make', KINDS)
@pytest.mark.parametrize(
    ('direction', 'expected'),
    [('horizontal', [4, 2, 7, 5]), ('vertical', [1, 1, 4, 4]), ('diagonal', [4, 1, 7, 4])],
)
def test_flip_moves_the_box_and_back(make, direction, expected):
    masks = make((1, 2, 4, 5))
    flipped = masks.flip(direction)
    assert flipped.get_bboxes().tolist() == [expected]
    assert np.array_equal(flipped.flip(direction).to_ndarray(), masks.to_ndarray())


@pytest.mark.parametrize('make', KINDS)
def test_unknown_direction_is_refused(make):
    with pytest.raises(ValueError, match='sideways'):
        make((1, 2, 4, 5)).flip('sideways')


@pytest.mark.parametrize('make', KINDS)
def test_geometry(make):
    masks = make((2, 2, 4, 4))
    assert masks.resize((12, 16)).get_bboxes().tolist() == [[4, 4, 8, 8]]
    assert masks.rescale(2.0).areas.tolist() == [16]
    assert masks.pad((10, 10)).get_bboxes().tolist() == [[2, 2, 4, 4]]
    assert masks.expand(20, 30, top=5, left=7).get_bboxes().tolist() == [[9, 7, 11, 9]]
    cropped = masks.crop(np.array([3, 1, 6, 6]))
    assert (cropped.height, cropped.width) == (5, 3)
    assert cropped.to_ndarray().sum() == 2
    assert cropped.get_bboxes().tolist() == [[0, 1, 1, 3]]


@pytest.mark.parametrize('make', KINDS)
def test_crop_and_resize_shows_each_box_its_mask(make):
    masks = make((0, 0, 4, 6), (4, 0, 8, 6))
    boxes = torch.tensor([[0.0, 0, 8, 6], [0, 0, 8, 6], [4, 0, 8, 6]])
    targets = masks.crop_and_resize(boxes, (4, 4), torch.tensor([0, 1, 1]))
    assert targets.shape == (3, 4, 4) and targets.dtype == torch.float32
    assert targets[0].tolist() == [[1, 1, 0, 0]] * 4
    assert targets[1].tolist() == [[0, 0, 1, 1]] * 4
    assert targets[2].tolist() == [[1, 1, 1, 1]] * 4
    assert masks.crop_and_resize(torch.zeros(0, 4), (4, 4), torch.zeros(0).long()).shape == (0, 4, 4)


def test_polygons_have_no_soft_targets():
    with pytest.raises(ValueError, match='poly2mask'):
        KINDS[-1]((0, 0, 4, 6)).crop_and_resize(torch.zeros(1, 4), (4, 4), torch.zeros(1).long(), binarize=False)


@pytest.mark.parametrize('make', [*KINDS, lambda *b: EncodedMasks.from_bitmaps(bitmap(*b).masks)])
def test_any_index_and_cat(make):
    masks = make((0, 0, 1, 1), (0, 0, 2, 1), (0, 0, 3, 1))
    assert masks[1].areas.tolist() == [2]
    assert masks[-1].areas.tolist() == [3]
    assert masks[:2].areas.tolist() == [1, 2]
    assert masks[[2, 0]].areas.tolist() == [3, 1]
    assert masks[[]].areas.tolist() == []
    assert masks[torch.tensor([2, 1])].areas.tolist() == [3, 2]
    assert masks[torch.tensor([True, False, True])].areas.tolist() == [1, 3]
    assert masks[np.array([False, True, False])].areas.tolist() == [2]
    assert [len(mask) for mask in masks] == [1, 1, 1]
    assert type(masks).cat([masks, masks[:1]]).areas.tolist() == [1, 2, 3, 1]
    with pytest.raises(IndexError):
        masks[3]


@pytest.mark.parametrize('make', KINDS)
def test_no_objects(make):
    masks = make()
    assert masks.areas.shape == (0,)
    assert masks.to_ndarray().shape == (0, 6, 8)
    assert masks.get_bboxes().shape == (0, 4)
    assert masks.flip().resize((3, 4)).pad((8, 8)).crop([0, 0, 5, 5]).expand(9, 9, 1, 1).to_ndarray().shape == (0, 9, 9)


def test_empty_mask_has_a_box_of_zeros():
    assert bitmap((0, 0, 0, 0)).get_bboxes().tolist() == [[0, 0, 0, 0]]
    assert PolygonMasks([[]], 4, 4).get_bboxes().tolist() == [[0, 0, 0, 0]]
    assert PolygonMasks([[]], 4, 4).to_ndarray().sum() == 0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match='canvas'):
        BitmapMasks(np.zeros((1, 4, 4)), 4, 5)
    with pytest.raises(ValueError, match='object 0'):
        PolygonMasks([[[0, 0, 1, 1]]], 4, 4)
    with pytest.raises(ValueError, match='does not fit'):
        bitmap((0, 0, 1, 1)).pad((3, 3))
    with pytest.raises(ValueError, match='different canvases'):
        BitmapMasks.cat([bitmap(), bitmap(height=9)])
    with pytest.raises(ValueError, match='padded with 0'):
        polygons((0, 0, 2, 2)).pad((9, 9), 1)


def test_encoded_masks_read_every_form_and_write_text():
    uncompressed = {'size': [2, 3], 'counts': [1, 2, 3]}  # column by column: 0 1 | 1 0 | 0 0
    masks = EncodedMasks([uncompressed], 2, 3)
    assert masks.to_ndarray().tolist() == [[[0, 1, 0], [1, 0, 0]]]
    written = masks.to_json()
    assert isinstance(written[0]['counts'], str)
    assert EncodedMasks(written, 2, 3).areas.tolist() == [2]
    assert EncodedMasks([], 2, 3).to_bitmap().to_ndarray().shape == (0, 2, 3)
    with pytest.raises(ValueError, match='mask 0'):
        EncodedMasks([uncompressed], 4, 4)


def test_masks_follow_their_boxes_in_instances():
    gt = Instances(bboxes=torch.zeros(2, 4), masks=bitmap((0, 0, 1, 1), (0, 0, 2, 2)))
    assert gt[torch.tensor([False, True])].masks.areas.tolist() == [4]
    assert Instances.cat([gt, gt]).masks.areas.tolist() == [1, 4, 1, 4]
