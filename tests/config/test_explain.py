from mmkit.config import Config
from mmkit.config.explain import differences, leaves

TEXT = """a = 1
b = dict(
    c=[1, 2],
    d=[dict(e=5), 6],
    f=dict())
"""


def test_leaves_have_paths_values_and_origins():
    shown = [str(leaf) for leaf in leaves(Config.fromstring(TEXT))]
    assert shown == [
        'a = 1  # <string>.py:1',
        'b.c = [1, 2]  # <string>.py:3',
        'b.d.0.e = 5  # <string>.py:4',
        'b.d.1 = 6  # <string>.py:4',
        'b.f = {}  # <string>.py:5',
    ]
    assert [str(leaf) for leaf in leaves(Config(dict(a=1)))] == ['a = 1']


def test_differences():
    first = Config(dict(a=1, b=dict(c=2, d=3), e=[1]))
    second = Config(dict(a=1, b=dict(c=5, x=6), e=(1,)))
    shown = [tuple(leaf and (leaf.path, leaf.value) for leaf in pair) for pair in differences(first, second)]
    assert shown == [
        (('b.c', 2), ('b.c', 5)),
        (('b.d', 3), None),
        (('e', [1]), ('e', (1,))),
        (None, ('b.x', 6)),
    ]
    assert not list(differences(first, first))
