from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmkit.structures import BitmapMasks, PolygonMasks
from mmkit.transforms import (
    BrokenImageError,
    LoadAnnotations,
    LoadEmptyAnnotations,
    LoadImageFromFile,
    LoadImageFromWebcam,
    LoadProposals,
)
from mmkit.transforms.images import read_image

GRADIENT = np.dstack([np.full((4, 6), 10), np.full((4, 6), 20), np.tile(np.arange(6) * 40, (4, 1))]).astype(np.uint8)


def sample_of(filename, prefix, **ann):
    ann_info = dict(bboxes=[[0, 0, 2, 2]], labels=[3], bboxes_ignore=None, **ann)
    return dict(img_info=dict(filename=filename, height=4, width=6), img_prefix=str(prefix), ann_info=ann_info)


def jpeg(orientation=1, thumbnail=b'', quality=95):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = thumbnail.decode('latin-1') or 'x'
    file = io.BytesIO()
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 255  # the left half is white
    Image.fromarray(pixels).save(file, 'JPEG', exif=exif, quality=quality)
    return file.getvalue()


def test_an_image_and_where_it_came_from(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), GRADIENT)
    sample = LoadImageFromFile()(sample_of('a.png', tmp_path))
    assert np.array_equal(sample['img'], GRADIENT)
    assert sample['filename'] == str(tmp_path / 'a.png') and sample['ori_filename'] == 'a.png'
    assert sample['img_shape'] == sample['ori_shape'] == (4, 6, 3)
    assert LoadImageFromFile(to_float32=True)(sample_of('a.png', tmp_path))['img'].dtype == np.float32


def test_color_types_and_channel_orders(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), GRADIENT)
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([GRADIENT, GRADIENT[..., 0]]))
    assert read_image(tmp_path / 'a.png', 'grayscale').shape == (4, 6)
    assert read_image(tmp_path / 'alpha.png', 'unchanged').shape == (4, 6, 4)
    assert read_image(tmp_path / 'alpha.png').shape == (4, 6, 3)
    assert np.array_equal(read_image(tmp_path / 'a.png', channel_order='rgb'), GRADIENT[..., ::-1])
    for wrong in (dict(color_type='colour'), dict(channel_order='grb'), dict(file_client_args=dict(backend='ceph'))):
        with pytest.raises(ValueError, match='colour|grb|ceph'):
            LoadImageFromFile(**wrong)


@pytest.mark.parametrize('color_type', ['color', 'grayscale', 'color_ignore_orientation', 'unchanged'])
def test_pillow_reads_the_same(tmp_path, color_type):
    (tmp_path / 'a.jpg').write_bytes(jpeg(orientation=6))
    ours, theirs = (read_image(tmp_path / 'a.jpg', color_type, backend=backend) for backend in ('pillow', 'cv2'))
    assert ours.shape == theirs.shape and np.abs(ours.astype(int) - theirs).max() <= 2
    step = LoadImageFromFile(imdecode_backend='pillow')
    cv2.imwrite(str(tmp_path / 'a.png'), GRADIENT)
    assert np.array_equal(step(sample_of('a.png', tmp_path))['img'], GRADIENT)
    (tmp_path / 'b.png').write_bytes(b'no image')
    with pytest.raises(BrokenImageError, match=r'b\.png'):
        step(sample_of('b.png', tmp_path))
    with pytest.raises(ValueError, match='turbojpeg'):
        LoadImageFromFile(imdecode_backend='turbojpeg')


def test_an_image_without_labels_has_empty_truth():
    sample = dict(img=GRADIENT, img_shape=(8, 9, 3), ori_shape=GRADIENT.shape)
    made = LoadEmptyAnnotations(with_mask=True, with_seg=True, seg_ignore_label=7)(dict(sample))
    assert made['gt_bboxes'].shape == (0, 4) and made['gt_labels'].shape == (0,) and len(made['gt_masks']) == 0
    assert (made['gt_semantic_seg'] == 7).all() and made['gt_semantic_seg'].shape == (4, 6)
    assert (made['bbox_fields'], made['mask_fields'], made['seg_fields']) == (
        ['gt_bboxes'],
        ['gt_masks'],
        ['gt_semantic_seg'],
    )
    of_a_script = LoadAnnotations(with_mask=True)(dict(sample))
    assert of_a_script['gt_bboxes'].shape == (0, 4) and of_a_script['gt_masks'].height == 4


def test_images_are_turned_as_exif_says(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(jpeg(orientation=6))
    turned = read_image(tmp_path / 'a.jpg')
    assert turned.shape == (60, 40, 3)
    assert turned[:25].min() > 200 and turned[35:].max() < 50  # a quarter clockwise: left is up now
    assert read_image(tmp_path / 'a.jpg', 'color_ignore_orientation').shape == (40, 60, 3)
    assert read_image(tmp_path / 'a.jpg', 'grayscale_ignore_orientation').shape == (40, 60)


@pytest.mark.parametrize('thumbnail', [b'', b'\xff\xd8 a thumbnail \xff\xd9'])
def test_a_truncated_jpeg_is_broken(tmp_path, thumbnail):
    content = jpeg(thumbnail=thumbnail)
    (tmp_path / 'a.jpg').write_bytes(content + b'trailing bytes do no harm')
    assert read_image(tmp_path / 'a.jpg').shape == (40, 60, 3)
    (tmp_path / 'a.jpg').write_bytes(content[:-60])
    with pytest.raises(BrokenImageError, match=r'a\.jpg: a JPEG that ends early'):
        read_image(tmp_path / 'a.jpg')


def test_other_broken_files(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), GRADIENT)
    content = (tmp_path / 'a.png').read_bytes()
    for name, broken in (('short.png', content[:-12]), ('empty.jpg', b''), ('text.jpg', b'not an image')):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(BrokenImageError, match=name):
            read_image(tmp_path / name)
    for missing in ('none.jpg', '.', 'a.png/b.jpg'):
        with pytest.raises(FileNotFoundError, match='no image file'):
            read_image(tmp_path / missing)


def test_an_array_is_taken_as_it_is():
    sample = LoadImageFromWebcam()(dict(img=GRADIENT))
    assert sample['img'] is GRADIENT and sample['ori_shape'] == (4, 6, 3) and sample['filename'] == ''
    with pytest.raises(ValueError, match='taken as it is'):
        LoadImageFromWebcam(channel_order='rgb')


def test_boxes_and_labels():
    sample = sample_of('a.png', '')
    sample['ann_info']['bboxes_ignore'] = np.array([[1, 1, 2, 2]])
    loaded = LoadAnnotations()(sample)
    assert loaded['gt_bboxes'].tolist() == [[0, 0, 2, 2]] and loaded['gt_bboxes'].dtype == np.float32
    assert loaded['gt_bboxes_ignore'].tolist() == [[1, 1, 2, 2]]
    assert loaded['gt_labels'].tolist() == [3]
    assert loaded['bbox_fields'] == ['gt_bboxes', 'gt_bboxes_ignore']
    only_label = LoadAnnotations(with_bbox=False)(sample_of('a.png', ''))
    assert 'gt_bboxes' not in only_label
    shares = sample_of('a.png', '')
    shares['ann_info']['bboxes'] = [[0.5, 0.25, 1, 1]]
    assert LoadAnnotations(denorm_bbox=True)(shares)['gt_bboxes'].tolist() == [[3, 1, 6, 4]]


def test_masks_of_every_form():
    square = [[1, 1, 3, 1, 3, 3, 1, 3]]
    stray = [*square, [1, 1, 2, 2], [1, 1, 2, 2, 3]]
    counts = dict(size=[4, 6], counts=[5, 2, 2, 2, 13])  # the same square, column by column
    drawn = LoadAnnotations(with_mask=True)(sample_of('a.png', '', masks=[square, stray, counts, []]))
    assert isinstance(drawn['gt_masks'], BitmapMasks) and drawn['mask_fields'] == ['gt_masks']
    assert drawn['gt_masks'].areas.tolist() == [4, 4, 4, 0]
    assert len({mask.tobytes() for mask in drawn['gt_masks'].masks[:3]}) == 1
    kept = LoadAnnotations(with_mask=True, poly2mask=False)(sample_of('a.png', '', masks=[stray]))
    assert isinstance(kept['gt_masks'], PolygonMasks) and kept['gt_masks'].areas.tolist() == [4]
    with pytest.raises(ValueError, match=r"'a\.png' has run-length encoded masks"):
        LoadAnnotations(with_mask=True, poly2mask=False)(sample_of('a.png', '', masks=[counts]))


def test_masks_are_drawn_on_the_image_as_it_was_read():
    sample = {**sample_of('a.png', '', masks=[[[1, 1, 3, 1, 3, 3, 1, 3]]]), 'ori_shape': (8, 9, 3)}
    assert LoadAnnotations(with_mask=True)(sample)['gt_masks'].masks.shape == (1, 8, 9)


def test_a_semantic_map_keeps_its_numbers(tmp_path):
    img = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8), mode='P')
    img.putpalette([7, 8, 9] * 256)
    img.save(tmp_path / 'a.png')
    sample = {**sample_of('a.jpg', '', seg_map='a.png'), 'seg_prefix': str(tmp_path)}
    loaded = LoadAnnotations(with_seg=True)(sample)
    assert loaded['gt_semantic_seg'].tolist() == [[0, 1], [2, 255]] and loaded['seg_fields'] == ['gt_semantic_seg']
    sample['ann_info']['seg_map'] = 'b.png'
    with pytest.raises(FileNotFoundError, match=r'no semantic map .*b\.png'):
        LoadAnnotations(with_seg=True)(sample)
    with pytest.raises(FileNotFoundError, match=r'no semantic map b\.png, and the dataset has no seg_prefix'):
        LoadAnnotations(with_seg=True)({**sample, 'seg_prefix': None})
    (tmp_path / 'b.png').write_bytes(b'nothing')
    with pytest.raises(BrokenImageError, match=r'b\.png'):
        LoadAnnotations(with_seg=True)(sample)


def test_proposals():
    sample = LoadProposals(num_max_proposals=1)(dict(proposals=[[0, 0, 2, 2, 0.9], [1, 1, 2, 2, 0.1]]))
    assert sample['proposals'].shape == (1, 5) and sample['bbox_fields'] == ['proposals']
    assert LoadProposals()(dict(proposals=np.zeros((0, 5))))['proposals'].tolist() == [[0] * 5]
    with pytest.raises(ValueError, match=r'\(1, 3\)'):
        LoadProposals()(dict(proposals=[[1, 2, 3]]))
