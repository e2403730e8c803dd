from __future__ import annotations

from mmkit.evaluation import format_pairs, format_table


def test_table_has_every_cell() -> None:
    text = format_table(['class', 'ap'], [['cat', '0.5'], ['mean', '0.5']])
    assert text.splitlines()[1] == '| class | ap  |'
    assert text.count('+-------+-----+') == 4  # a rule above the mean


def test_pairs_side_by_side() -> None:
    text = format_pairs([('a', '1'), ('b', '2'), ('c', '3')], ('name', 'AP'), num_pairs=2)
    assert text.splitlines()[3:5] == ['| a    | 1  | b    | 2  |', '| c    | 3  |      |    |']
    assert 'name' in format_pairs([], ('name', 'AP'))
