"""Sets of rules: the shipped ones, and what is said of a user's own that cannot be used."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from shopsight.errors import ConfigError
from shopsight.image_rules.checks import CHECKS, Limit
from shopsight.image_rules.read_rules import (
    parse_rules,
    read_rule_set,
    read_rule_sets,
    shipped_rules,
)
from shopsight.image_rules.rule_set import Rule, last_start

GOOD = """\
name = "Our shop"
as_of = 2026-11-28

[[rule]]
id = "size"
check = "shortest-side"
min = 800
source = "photo guide, page 2"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_rules(text, key="ours", where="ours.toml")
    assert caught.value.where == "ours.toml"
    return list(caught.value.details)


def test_shipped() -> None:
    assert shipped_rules() == ["amazon", "google"]
    for name in shipped_rules():
        rules = read_rule_set(name)
        assert rules.key == name
        for rule in rules.rules:
            assert rule.source.startswith("https://")
            assert rule.needed


def test_what_google_asks_for_changes_with_the_day() -> None:
    google = read_rule_set("google")
    sizes = {
        day: [r.limit.min for r in google.rules if r.is_in_force(day) and r.severity == "warning"
              and r.check == "shortest-side"]
        for day in (datetime.date(2027, 1, 30), datetime.date(2027, 1, 31))
    }  # fmt: skip
    assert list(sizes.values()) == [[100, 250], [500]]
    assert last_start([google], datetime.date(2026, 11, 28)) == datetime.date(2027, 1, 31)
    assert last_start([google], datetime.date(2028, 1, 1)) == datetime.date(2028, 1, 1)


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    ours, google = read_rule_sets(f"{path}+google")
    assert (ours.key, ours.name, google.key) == ("ours", "Our shop", "google")
    assert ours.rules == (
        Rule(id="size", check="shortest-side", limit=Limit(min=800), source="photo guide, page 2"),
    )


def test_a_plus_in_the_name_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a+b.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert [rules.key for rules in read_rule_sets(str(path))] == ["a+b"]


@pytest.mark.parametrize("name", ["gogle", "google+nope.toml", ""])
def test_no_such_rules(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rule_sets(name)
    assert "amazon, google, a TOML file" in (caught.value.fix or "")


def test_the_near_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean 'google'"):
        read_rule_sets("gogle")


def test_a_set_twice() -> None:
    with pytest.raises(ConfigError, match="google is named twice"):
        read_rule_sets("google+google")


def test_no_toml() -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML: .*line 2"):
        parse_rules("a = 1\nb = ]\n", key="x", where="x.toml")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "caf\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_rule_set(str(path))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("min = 800", "minn = 800", "line 7: rule 1: minn is no key here; did you mean min?"),
        ("min = 800", 'min = "800"', "line 7: rule 1: min must be a number from 0 to 1e+12 "
         "(got '800')"),
        ("min = 800", "min = true", "line 7: rule 1: min must be a number from 0 to 1e+12 "
         "(got True)"),
        ("min = 800", "", "line 6: rule 1: check 'shortest-side' needs min or max"),
        ("min = 800", "min = 800\nmax = 5", "line 8: rule 1: max is 5, less than min = 800"),
        ("min = 800", "allowed = ['jpeg']", "line 7: rule 1: allowed does not belong to check "
         "'shortest-side': it takes min, max"),
        ('"shortest-side"', '"shortest"', "line 6: rule 1: check cannot be 'shortest'; did you "
         "mean 'shortest-side'?"),
        ('check = "shortest-side"', "", "line 4: rule 1: check is missing; it is one of "
         + ", ".join(CHECKS)),
        ('id = "size"', "", "line 4: rule 1: id is missing"),
        ('source = "photo guide, page 2"', "source = ''",
         "line 8: rule 1: source must be text (got '')"),
        ("min = 800", "min = 800\nfrom = '2027-01-31'", "line 8: rule 1: from must be a date such "
         "as 2027-01-31, unquoted (got '2027-01-31')"),
        ("min = 800", "min = 800\nfrom = 2027-01-31\nuntil = 2026-01-01",
         "line 9: rule 1: until is 2026-01-01, before from = 2027-01-31"),
        ("min = 800", "min = 800\nseverity = 'error'", "line 8: rule 1: severity cannot be "
         "'error': it is one of warning, note"),
        ("min = 800", "min = 800\nimages = 'first'", "line 8: rule 1: images cannot be 'first': "
         "it is one of all, main"),
        ("min = 800", "min = 800\nlabels = 'Shoes'", "line 8: rule 1: labels must be a list of "
         "texts (got 'Shoes')"),
        ("as_of = 2026-11-28", "", "line 1: as_of is missing: the day of what is known of the "
         "sources, such as 2026-11-28"),
        ('name = "Our shop"', "nam = 'x'", "line 1: nam is no key here; did you mean name?"),
    ],
)  # fmt: skip
def test_problem(old: str, new: str, problem: str) -> None:
    assert problem in problems(GOOD.replace(old, new))


def test_words_of_other_checks() -> None:
    text = GOOD.replace('"shortest-side"\nmin = 800', '"format"\nallowed = ["jpg"]')
    assert "has 'jpg'; known: jpeg, png" in problems(text)[0]
    text = GOOD.replace('"shortest-side"\nmin = 800', '"white-border"\nmin = 98\nwhite = "snow"')
    found = problems(text)
    assert any("white cannot be 'snow': it is one of near, pure" in line for line in found)
    text = GOOD.replace('"shortest-side"\nmin = 800', '"white-border"\nmin = 98')
    assert "min must be a number from 0 to 1 (got 98)" in problems(text)[0]
    text = GOOD.replace('"shortest-side"\nmin = 800', '"edges"')
    assert 'severity must be "note": edges is a hint' in problems(text)[0]


def test_all_problems_at_once_with_their_rule() -> None:
    second = GOOD[GOOD.index("[[rule]]") :].replace("800", "-1")
    found = problems(GOOD.replace("800", "'x'") + "\n" + second)
    assert [line.partition(": min")[0] for line in found] == ["line 7: rule 1", "line 13: rule 2"]


def test_two_rules_of_one_name() -> None:
    found = problems(GOOD + "\n" + GOOD[GOOD.index("[[rule]]") :])
    assert "line 11: rule 2: id is 'size', as another rule's" in found


@pytest.mark.parametrize("rule", ["", "rule = 5", "rule = [1]", "rule = []"])
def test_no_rules(rule: str) -> None:
    text = f'name = "x"\nas_of = 2026-11-28\n{rule}'
    assert any("a set has one [[rule]] or more" in line for line in problems(text))


def test_rules_in_one_line() -> None:
    rule = '{id = "a", check = "blank", source = "x"}'
    text = f'name = "x"\nas_of = 2026-11-28\nrule = [{rule}]'
    assert parse_rules(text, key="x", where="x").rules[0].check == "blank"
