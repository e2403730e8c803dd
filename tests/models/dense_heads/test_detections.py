from __future__ import annotations

import pytest
import torch

from mmkit.models.dense_heads.detections import (
    LevelPredictions,
    PostProcessing,
    PriorInstances,
    detect,
    detect_with_priors,
    finish_predictions,
    select_candidates,
)
from mmkit.structures import Instances
from tests.models.scenes import meta


def test_post_processing_reads_a_config_without_changing_it():
    cfg = dict(nms_pre=5, score_thr=0.1, nms=dict(type='nms', iou_threshold=0.3), max_per_img=7, min_bbox_size=2)
    settings = PostProcessing.from_cfg(cfg)
    assert (settings.nms_pre, settings.score_thr, settings.max_per_img, settings.min_bbox_size) == (5, 0.1, 7, 2)
    assert cfg.keys() == {'nms_pre', 'score_thr', 'nms', 'max_per_img', 'min_bbox_size'}
    assert PostProcessing.from_cfg(settings) is settings


def test_post_processing_understands_older_spellings():
    with pytest.warns(UserWarning, match='outdated'):
        settings = PostProcessing.from_cfg(dict(nms_thr=0.7, max_num=9, nms_post=9, nms_across_levels=False))
    assert settings.nms == dict(type='nms', iou_threshold=0.7)
    assert settings.max_per_img == 9


def test_post_processing_names_what_it_cannot_use():
    with pytest.warns(UserWarning, match='score_treshold'):
        PostProcessing.from_cfg(dict(score_treshold=0.1))
    with pytest.warns(UserWarning, match='nms_across_levels'), pytest.raises(ValueError, match='nms_across_levels'):
        PostProcessing.from_cfg(dict(nms_across_levels=True))
    with pytest.raises(ValueError, match='test_cfg'):
        PostProcessing.from_cfg(None)


def test_candidates_are_pairs_above_the_threshold_best_first():
    scores = torch.tensor([[0.9, 0.2], [0.3, 0.6], [0.1, 0.1]])
    best = select_candidates(scores, 0.1, -1)
    assert best.scores.tolist() == pytest.approx([0.9, 0.6, 0.3, 0.2])
    assert best.inds.tolist() == [0, 1, 1, 0]
    assert best.labels.tolist() == [0, 1, 0, 1]
    assert select_candidates(scores, 0.1, 2).inds.tolist() == [0, 1]
    assert len(select_candidates(scores, 0.95, 2).inds) == 0


def test_finish_scales_filters_and_suppresses():
    candidates = PriorInstances(
        bboxes=torch.tensor([[0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 8, 9], [20, 20, 24, 40.0]]),
        labels=torch.tensor([0, 0, 1, 0]),
        scores=torch.tensor([0.5, 0.9, 0.8, 0.4]),
        prior_inds=torch.tensor([7, 5, 5, 3]),
    )
    cfg = PostProcessing(max_per_img=2, min_bbox_size=4)
    detections = finish_predictions(candidates, meta(scale=2), cfg, rescale=True)
    assert detections.bboxes.tolist() == [[0, 0, 4, 4], [0, 0, 4, 4.5]]  # the last is 2 pixels wide
    assert detections.labels.tolist() == [0, 1]
    kept = finish_predictions(candidates, meta(scale=2), PostProcessing(), rescale=False)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.8, 0.4])
    assert kept.prior_inds.tolist() == [5, 5, 3]
    nothing = finish_predictions(candidates[:0], meta(), cfg, rescale=True)
    assert len(nothing) == 0 and nothing.labels.dtype == torch.long


@pytest.mark.parametrize(('settings', 'kept'), [(dict(), 3), (dict(strict_min_size=True), 2)])
def test_strictness_about_the_size(settings, kept):
    bboxes = torch.tensor([[0, 0, 0, 8], [20, 0, 24, 8], [40, 0, 48, 8.0]])  # the first was clipped to a line
    candidates = Instances(bboxes=bboxes, labels=torch.zeros(3, dtype=torch.long), scores=torch.tensor([0.9, 0.8, 0.7]))

    def finish(least):
        cfg = PostProcessing(min_bbox_size=least, **settings)
        return finish_predictions(candidates, meta(), cfg, rescale=False)

    assert [len(finish(least)) for least in (-1, 0, 4)] == [3, kept, kept - 1]


def test_detect_chooses_by_level_before_it_applies_factors():
    first = torch.tensor([[[0.9], [0.8], [0.7]]]), torch.tensor([[[0.0], [100], [200]]]), torch.zeros(3, 1)
    second = torch.tensor([[[0.2]]]), torch.tensor([[[300.0]]]), torch.zeros(1, 1)
    levels = [
        LevelPredictions(*first, factors=torch.tensor([[0.1, 1.0, 1.0]])),
        LevelPredictions(*second, factors=torch.tensor([[1.0]])),
    ]

    def decode_boxes(priors, preds, img_shape):
        assert img_shape == (16, 16)
        return torch.cat([preds, preds, preds + 8, preds + 8], dim=1)

    (detections,) = detect(levels, decode_boxes, [meta()], PostProcessing(nms_pre=2, score_thr=0.15), rescale=False)
    # The third of the first level is not among its best two; a weak factor lowers the rank, but removes nothing.
    assert detections.bboxes[:, 0].tolist() == [100, 300, 0]
    assert detections.scores.tolist() == pytest.approx([0.8, 0.2, 0.09])
    assert type(detections) is Instances
    (found,) = detect_with_priors(
        levels, decode_boxes, [meta()], PostProcessing(nms_pre=2, score_thr=0.15), rescale=False
    )
    assert found.prior_inds.tolist() == [1, 3, 0]
