"""The names ``import dualml`` offers."""

from collections import Counter

import dualml


def test_every_public_name_has_one_home_and_leads_there():
    homes = Counter(name for names in dualml._HOMES.values() for name in names)
    assert [name for name, count in homes.items() if count > 1] == []
    for home, names in dualml._HOMES.items():
        for name in names:
            found = getattr(dualml, name)
            assert getattr(found, "__module__", home).startswith(("dualml", "builtins")), name
