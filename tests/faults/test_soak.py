"""A short soak: see soak.py for what it counts."""

from soak import MUST_BE_0, soak


def test_random_faults_under_load_bounce_nobody(template):
    said = []
    count = soak(20, 3, template, said.append)
    assert count["faults"] > 0 and count["replies"] > 1000, count
    assert not [name for name in MUST_BE_0 if count[name]], "\n".join(map(str, [*said, count]))
