"""Spellings of metrics.

Processes exchange predictions in memory, evaluate in one of them, and find categories by their names, whatever is asked
for.
"""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.dialects.spellings.spelling import Spelling
from mmkit.dialects.spellings.transforms import without

_UNUSED = {'collect_device': ('cpu', 'gpu'), 'backend_args': (None, {'backend': 'local'}, {'backend': 'disk'})}
_UNUSED |= {'file_client_args': (None, {'backend': 'local'}, {'backend': 'disk'})}


METRICS: Mapping[str, Spelling] = {
    'CocoMetric': Spelling(
        renamed={'outfile_prefix': 'jsonfile_prefix'},
        defaults={'prefix': ('coco', None), 'classwise_name': ('{name}_precision', '{metric}_mAP/{name}')},
        unused={**_UNUSED, 'use_mp_eval': (False, True), 'sort_categories': (False, True)},
    ),
    'CrowdHumanMetric': Spelling(
        defaults={'prefix': ('crowd_human', None)},
        unused={
            **_UNUSED,
            'format_only': (False,),
            'outfile_prefix': (None,),
            'eval_mode': (0,),
            'compare_matching_method': (None,),
        },
        refine=without('num_ji_process'),
    ),
    'LVISMetric': Spelling(
        renamed={'outfile_prefix': 'jsonfile_prefix'}, defaults={'prefix': ('lvis', None)}, unused=_UNUSED
    ),
    'VOCMetric': Spelling(
        renamed={'iou_thrs': 'iou_thr'},
        defaults={
            'prefix': ('pascal_voc', None),
            'eval_mode': ('11points', 'area'),
            'use_legacy_coordinate': (True, False),
        },
        unused={**_UNUSED, 'ioa_thrs': (None,)},
    ),
}
