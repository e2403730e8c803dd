from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmkit.datasets import CustomDataset, MultiImageMixDataset, build_dataloader, collate
from mmkit.structures import Batch, ImageMeta, Instances, Sample


@pytest.fixture
def dataset(make_images, write_json, train_pipeline):
    sizes = [(40, 50), (50, 40)] * 4
    folder = make_images(*sizes)
    ann = dict(bboxes=[[2, 2, 12, 12]], labels=[0])
    images = [dict(filename=f'{n}.png', height=h, width=w, ann=ann) for n, (h, w) in enumerate(sizes)]
    return CustomDataset(write_json(images), train_pipeline, classes=('cat',), img_prefix=str(folder))


def trace(loader, epochs):
    """The batches of some epochs, by the ids of their images."""
    seen = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        seen += [(epoch, [meta.img_id for meta in batch.metas], float(batch.imgs.sum())) for batch in loader]
    return seen


def test_workers_do_not_change_anything(dataset):
    alone = trace(build_dataloader(dataset, 2, 0, seed=4), [0, 1])
    assert len(alone) == 8
    shared = build_dataloader(dataset, 2, 2, seed=4, persistent_workers=True)
    assert trace(shared, [0, 1]) == alone
    assert trace(shared, [1]) == alone[4:]


def test_a_loader_leaves_the_global_generators_alone(dataset):
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    trace(build_dataloader(dataset, 2, 0, seed=4), [0])
    assert (torch.rand(1), np.random.rand()) == expected


def test_workers_run_opencv_in_one_thread(dataset):
    dataset.pipeline.transforms.append(_with_threads)
    (batch, *_) = build_dataloader(dataset, 2, 1, seed=4)
    assert batch.metas[0].filename in ('0', '1')  # OpenCV says 1 where it was built without threads


def _with_threads(sample):
    sample.meta.filename = str(cv2.getNumThreads())
    return sample


def test_a_change_of_mixing_reaches_running_workers(dataset):
    mixed = MultiImageMixDataset(dataset, [_blacken])
    loader = build_dataloader(mixed, 2, 1, seed=4, persistent_workers=True)
    assert all(total == 0 for _, _, total in trace(loader, [0]))
    mixed.update_skip_type_keys(['function'])
    assert all(total != 0 for _, _, total in trace(loader, [1]))


def _blacken(sample):
    sample.img.zero_()
    return sample


def test_num_gpus_multiplies_the_batch_of_one_process(dataset):
    assert [len(batch) for batch in build_dataloader(dataset, 2, 0, num_gpus=2, seed=0)] == [4, 4]
    assert [len(batch) for batch in build_dataloader(dataset, 3, 0, shuffle=False)] == [3, 3, 2]
    assert [len(batch) for batch in build_dataloader(dataset, 3, 0, shuffle=False, drop_last=True)] == [3, 3]


def sample(height, width, **more) -> Sample:
    meta = ImageMeta('', '', 0, *[(height, width)] * 3, np.ones(4, np.float32))
    return Sample(torch.ones(3, height, width), meta, **more)


def test_smaller_images_are_filled_up():
    seg = torch.zeros(1, 2, 4, dtype=torch.int64)
    first = sample(4, 8, img_pad=7.0, gt_semantic_seg=seg, gt=Instances.empty(), ignored=torch.zeros(0, 4))
    second = sample(
        8, 4, gt_semantic_seg=seg.reshape(1, 4, 2), gt=Instances(torch.ones(2, 4)), ignored=torch.ones(1, 4)
    )
    batch = collate([first, second])
    assert isinstance(batch, Batch) and batch.imgs.shape == (2, 3, 8, 8)
    assert batch.imgs[0, 0, 4:].unique().tolist() == [7] == batch.imgs[1, 0, :, 4:].unique().tolist()
    assert batch.imgs[0, 0, :4].unique().tolist() == [1]
    assert batch.gt_semantic_seg.shape == (2, 1, 4, 4)
    assert batch.gt_semantic_seg[0, 0].tolist() == [[0] * 4, [0] * 4, [255] * 4, [255] * 4]
    assert [len(gt) for gt in batch.gts] == [0, 2] and [len(boxes) for boxes in batch.ignored] == [0, 1]
    assert batch.proposals is None and batch.gt_labels is None


def test_views_become_batches():
    first, second = collate([[sample(4, 4), sample(8, 8)], [sample(4, 4), sample(8, 8)]])
    assert first.imgs.shape == (2, 3, 4, 4) and second.imgs.shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match=r'numbers of views: \[1, 2\]'):
        collate([[sample(4, 4)], [sample(4, 4)] * 2])


def test_what_cannot_be_a_batch():
    with pytest.raises(TypeError, match='must end with Collect'):
        collate([dict(img=1)])
    with pytest.raises(ValueError, match='1 of 2 samples of a batch have no gt'):
        collate([sample(4, 4), sample(4, 4, gt=Instances.empty())])
    labels = collate([sample(4, 4, gt_label=torch.tensor(3)), sample(4, 4, gt_label=torch.tensor([2]))])
    assert labels.gt_labels.tolist() == [3, 2]
