"""From ground truth and predictions to numbers: pure functions, no model and no dataset."""

from mmkit.evaluation.classification import evaluate_scores, precision_recall_f1, top_k_accuracy
from mmkit.evaluation.coco import coco_eval, coco_metric_names
from mmkit.evaluation.recall import box_recalls
from mmkit.evaluation.tables import format_pairs, format_table
from mmkit.evaluation.voc import Boxes, recall_values, voc_eval

__all__ = [
    'Boxes',
    'box_recalls',
    'coco_eval',
    'coco_metric_names',
    'evaluate_scores',
    'format_pairs',
    'format_table',
    'precision_recall_f1',
    'recall_values',
    'top_k_accuracy',
    'voc_eval',
]
