from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from mmkit.evaluation import Truth
from mmkit.metrics import DatasetMetric, compute_metrics
from mmkit.structures import Instances, Prediction
from mmkit.utils import dist
from tests.metrics.conftest import make_meta, perfect

TRUTH = Truth('five images', (), ('a', 'b', 'c', 'd', 'e'))


class Labels(DatasetMetric):
    """The labels of the first object of each image, in order."""

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        labels = [int(out.labels[0]) for out in predictions if isinstance(out, Instances) and out.labels is not None]
        return {'labels': ' '.join(map(str, labels))}


def processed(indices: Sequence[int], **meta: Any) -> Labels:
    metric = Labels()
    metric.prepare(TRUTH)
    metric.reset()
    for index in indices:
        metric.process([make_meta(index)], [perfect(index)])
    return metric


def test_the_order_of_the_dataset_is_restored() -> None:
    assert processed([3, 0, 4, 1, 2]).evaluate() == {'labels': '0 1 2 3 4'}


def test_an_image_that_comes_twice_counts_once() -> None:
    assert processed([0, 1, 2, 3, 4, 0]).evaluate() == {'labels': '0 1 2 3 4'}


def test_images_are_known_by_their_id_where_the_dataset_gives_no_index() -> None:
    metric = processed([])
    for label, img_id in enumerate('abcde'):
        metric.process([make_meta(None, img_id)], [perfect(label)])
    assert metric.evaluate() == {'labels': '0 1 2 3 4'}
    with pytest.raises(ValueError, match="five images has no image with the id 'f'"):
        metric.process([make_meta(None, 'f')], [perfect(0)])


def test_without_truth_images_count_as_they_come() -> None:
    metric = Labels()
    metric.process([make_meta(None), make_meta(None)], [perfect(4), perfect(2)])
    assert metric.evaluate() == {'labels': '4 2'}


def test_a_reset_forgets() -> None:
    metric = processed([0, 1, 2, 3, 4])
    metric.reset()
    with pytest.raises(RuntimeError, match='no process predicted image 0 of 5'):
        metric.evaluate()


def test_images_that_nobody_predicted_are_named() -> None:
    with pytest.raises(RuntimeError, match='no process predicted image 2 of 5'):
        processed([0, 1, 3, 4]).evaluate()


def test_parts_of_all_processes_count_on_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    other = processed([1, 3, 0])  # padded with image 0, so that both have three
    assert other._predictions is not None
    monkeypatch.setattr(dist, 'all_gather_object', lambda own: [own, other._predictions])
    assert processed([0, 2, 4]).evaluate() == {'labels': '0 1 2 3 4'}
    monkeypatch.setattr(dist, 'is_main', lambda: False)
    assert processed([0, 2, 4]).evaluate() == {}


def test_a_metric_that_sees_metas_cannot_be_computed_later() -> None:
    class Bare:
        def reset(self) -> None: ...
        def process(self, metas: Any, predictions: Any) -> None: ...
        def evaluate(self) -> dict[str, float | str]:
            return {}

    with pytest.raises(TypeError, match='Bare is no DatasetMetric'):
        compute_metrics([Bare()], [])


def _worker(rank: int, port: int, answers: Any) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='localhost')
    os.environ['MASTER_PORT'] = str(port)
    dist.init_dist('pytorch', backend='gloo')
    answers.put((rank, processed([rank, rank + 2, 4 if rank == 0 else 0]).evaluate()))
    dist.leave()


@pytest.mark.slow
def test_two_processes_share_five_images(spawn_context: Any) -> None:
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    answers = spawn_context.Queue()
    processes = [spawn_context.Process(target=_worker, args=(rank, port, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    collected = dict(answers.get(timeout=100) for _ in processes)
    for process in processes:
        process.join()
    assert collected == {0: {'labels': '0 1 2 3 4'}, 1: {}}
