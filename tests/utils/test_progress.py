from __future__ import annotations

from mmkit.utils.progress import track


def test_it_walks_over_everything_and_counts(capsys):
    assert list(track([1, 2, 3], desc='images')) == [1, 2, 3]
    assert 'images: 100%' in capsys.readouterr().err


def test_other_processes_are_silent(capsys, monkeypatch):
    monkeypatch.setenv('RANK', '2')
    with track(total=2) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ''
