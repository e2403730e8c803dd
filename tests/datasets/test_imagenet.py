from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch

from mmkit.datasets import ClassBalancedDataset, ConcatDataset, ImageNet, RepeatDataset, build_dataloader, build_dataset
from mmkit.structures import ClassScores

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=8),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label']),
]


@pytest.fixture
def folder(tmp_path):
    """Folders of classes, with images, deeper folders, and files that are no images."""
    for number, name in enumerate(['dog/b.png', 'dog/a.PNG', 'cat/more/c.jpg', 'owl/d.bmp', 'cat/.hidden/e.png']):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((12, 10, 3), 40 * number, np.uint8))
    (tmp_path / 'cat' / 'notes.txt').write_text('not an image')
    (tmp_path / '.cache').mkdir()
    (tmp_path / 'list.txt').write_text('x')
    return tmp_path


def test_folders_are_classes(folder, caplog):
    with caplog.at_level(logging.INFO, 'mmkit'):
        dataset = ImageNet(str(folder), PIPELINE)
    assert dataset.CLASSES == ('cat', 'dog', 'owl')
    assert list(dataset.filenames) == ['cat/more/c.jpg', 'dog/a.PNG', 'dog/b.png', 'owl/d.bmp']
    assert dataset.labels.tolist() == [0, 1, 1, 2] and dataset.get_cat_ids(2) == [1]
    assert 'ImageNet' in caplog.text and '4 images' in caplog.text
    sample = dataset[1]
    assert sample.img.shape == (3, 8, 8) and int(sample.gt_label) == 1
    assert sample.meta.ori_filename == 'dog/a.PNG' and sample.meta.ori_shape == (12, 10)


def test_batches_have_labels(folder):
    dataset = build_dataset(dict(type='ImageNet', data_prefix=str(folder), pipeline=PIPELINE))
    loader = build_dataloader(dataset, samples_per_gpu=4, workers_per_gpu=0, seed=0)
    (batch,) = loader
    assert batch.imgs.shape == (4, 3, 8, 8) and sorted(batch.gt_labels.tolist()) == [0, 1, 1, 2]
    assert batch.gts is None and batch.to('cpu').gt_labels.dtype == torch.int64


def test_samples_are_functions_of_seed_and_epoch(folder):
    dataset = ImageNet(str(folder), [lambda sample: float(sample['rng'].random())])
    first = dataset[0]
    assert dataset[0] == first != dataset[1]
    dataset.set_epoch(1)
    assert dataset[0] != first


def test_wrappers_wrap(folder):
    dataset = ImageNet(str(folder), PIPELINE)
    assert len(RepeatDataset(dataset, 3)) == 12
    assert len(ClassBalancedDataset(dataset, 0.5)) == 6
    both = ConcatDataset([dataset, dataset])
    right = [ClassScores(torch.eye(3)[label]) for label in dataset.labels]
    assert both.evaluate(right * 2) == {'0_accuracy_top-1': 100.0, '1_accuracy_top-1': 100.0}


def test_names_of_the_folders_may_be_replaced(folder, tmp_path):
    assert ImageNet(str(folder), PIPELINE, ['Katze', 'Hund', 'Eule']).CLASSES == ('Katze', 'Hund', 'Eule')
    (tmp_path / 'names').write_text('cat\ndog\nowl\n')
    assert ImageNet(str(folder), PIPELINE, str(tmp_path / 'names')).CLASSES == ('cat', 'dog', 'owl')


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (('dog', 'cat', 'owl'), 'in another order'),
        (('cat', 'dog', 'cow'), 'has no folder of the classes cow; it has cat, dog, owl'),
        (('cat', 'dog'), '2 classes cat, dog for the 3 folders'),
    ],
)
def test_names_that_would_swap_classes_are_refused(folder, classes, message):
    with pytest.raises(ValueError, match=message):
        ImageNet(str(folder), PIPELINE, classes)


def test_a_list_of_labels(folder):
    (folder / 'val.txt').write_text('dog/b.png 4\n\ncat/more/c.jpg 0\n')
    dataset = ImageNet(str(folder), PIPELINE, ann_file=str(folder / 'val.txt'))
    assert dataset.labels.tolist() == [4, 0] and dataset.CLASSES == tuple('01234')
    assert dataset[0].meta.ori_filename in ('dog/b.png', 'cat/more/c.jpg')
    assert ImageNet(str(folder), PIPELINE, ann_file=str(folder / 'val.txt'), test_mode=True).CLASSES is None
    with pytest.raises(ValueError, match=r'image 0 of .*val\.txt has the label 4, expected 0\.\.2'):
        ImageNet(str(folder), PIPELINE, ('cat', 'dog', 'owl'), str(folder / 'val.txt'))


@pytest.mark.parametrize('line', ['a.png', 'a.png cat', 'a.png -1', 'a.png 1.5'])
def test_lines_that_are_something_else_are_named(folder, line):
    (folder / 'val.txt').write_text(f'dog/b.png 4\n{line}\n')
    with pytest.raises(ValueError, match=r'val\.txt:2: expected a path and a label from 0'):
        ImageNet(str(folder), PIPELINE, ann_file=str(folder / 'val.txt'))


def test_nothing_to_learn_from(folder, tmp_path):
    (folder / 'empty').mkdir()
    with pytest.raises(ValueError, match='no image in the class folder .*empty'):
        ImageNet(str(folder), PIPELINE)
    with pytest.raises(FileNotFoundError, match=r'no folder nowhere \(ImageNet.data_prefix\)'):
        ImageNet('nowhere', PIPELINE)
    with pytest.raises(ValueError, match='has no folders: ImageNet expects one for each class'):
        ImageNet(str(folder / 'owl'), PIPELINE)
    with pytest.raises(FileNotFoundError, match=r'no annotation file none\.txt'):
        ImageNet(str(folder), PIPELINE, ann_file='none.txt')
    (folder / 'val.txt').write_text('\n')
    with pytest.raises(ValueError, match=r'no image in .*val\.txt'):
        ImageNet(str(folder), PIPELINE, ann_file=str(folder / 'val.txt'))
    with pytest.raises(ValueError, match='backend'):
        ImageNet(str(folder), PIPELINE, file_client_args=dict(backend='petrel'))


def test_a_broken_image_is_replaced_in_training_and_stops_a_test(folder, caplog):
    (folder / 'owl' / 'd.bmp').write_bytes(b'broken')
    dataset = ImageNet(str(folder), PIPELINE, max_broken=1)
    with caplog.at_level(logging.WARNING, 'mmkit'):
        assert dataset[3].meta.ori_filename != 'owl/d.bmp'
    assert 'd.bmp' in caplog.text and '1 of at most 1 broken images' in caplog.text
    (folder / 'dog' / 'b.png').unlink()
    with pytest.raises(RuntimeError, match='2 images of .* max_broken=1'):
        dataset[2]
    with pytest.raises(OSError, match=r'd\.bmp'):
        ImageNet(str(folder), PIPELINE, test_mode=True)[2]


def test_a_pipeline_that_gives_nothing_is_named(folder):
    with pytest.raises(RuntimeError, match='no usable sample in 100 tries.*image 2'):
        ImageNet(str(folder), [lambda sample: None])[2]


def test_evaluation(folder, caplog):
    dataset = ImageNet(str(folder), PIPELINE, test_mode=True)
    outputs = [ClassScores(torch.eye(3)[label]) for label in (0, 1, 2, 2)]
    with caplog.at_level(logging.INFO, 'mmkit'):
        values = dataset.evaluate(outputs, ['accuracy', 'recall'], dict(topk=(1, 2)), logging.getLogger('mmkit'))
    assert values == {'accuracy_top-1': 75.0, 'accuracy_top-2': 75.0, 'recall': pytest.approx(250 / 3)}
    assert '75.00' in caplog.text
    with pytest.raises(ValueError, match='outputs of 3 images for a dataset of 4'):
        dataset.evaluate(outputs[:3])
