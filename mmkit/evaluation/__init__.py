"""From ground truth and predictions to numbers: pure functions, no model and no dataset."""

from mmkit.evaluation.classification import check_score_metrics, evaluate_scores, precision_recall_f1, top_k_accuracy
from mmkit.evaluation.coco import CocoEvaluation, coco_eval
from mmkit.evaluation.coco_options import CocoOptions
from mmkit.evaluation.coco_truth import coco_truth
from mmkit.evaluation.recall import box_recalls
from mmkit.evaluation.tables import format_pairs, format_table
from mmkit.evaluation.truth import ClassTruth, DetectionTruth, Truth
from mmkit.evaluation.voc import Boxes, recall_values, voc_eval

__all__ = [
    'Boxes',
    'ClassTruth',
    'CocoEvaluation',
    'CocoOptions',
    'DetectionTruth',
    'Truth',
    'box_recalls',
    'check_score_metrics',
    'coco_eval',
    'coco_truth',
    'evaluate_scores',
    'format_pairs',
    'format_table',
    'precision_recall_f1',
    'recall_values',
    'top_k_accuracy',
    'voc_eval',
]
