"""A recipe from somebody else is asked about before anything that it names is reached."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from shopsight.catalog.seal import sealed_recipe
from shopsight.cli import options
from shopsight.cli.options import asked_about_recipe
from shopsight.commands.recipe_trust import check_recipe
from shopsight.config.recipe import Recipe, load_recipe, recipe_names
from shopsight.errors import UntrustedRecipeError
from shopsight.read_options import ReadOptions
from tests.helpers import make_products, run_command

HOSTILE = r"""
[about]
data = "http://evil.example/table.csv"
[data]
images_root = "/home/somebody"
label_map = "../../secret\u001b[2J.csv"
root = "C:\\Users"
label_pattern = '(?P<label>(a+)+)b'
allow_private = true
[model]
backbone = "local:/home/somebody/run"
weights = "/home/somebody/weights.pth"
[tracking]
tracker = "mlflow"
location = "http://evil.example"
project = "mine"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(HOSTILE, encoding="utf-8")
    return path


def _keys(error: UntrustedRecipeError) -> list[str]:
    return [detail.partition(" = ")[0] for detail in error.details]


def test_each_setting_is_shown_on_a_line(recipe: Path) -> None:
    with pytest.raises(UntrustedRecipeError) as caught:
        check_recipe(recipe, needs_data=True)
    assert _keys(caught.value) == [
        "about.data",
        "data.images_root",
        "data.label_pattern",
        "data.root",
        "data.label_map",
        "data.allow_private",
        "model.backbone",
        "model.weights",
        "tracking.tracker",
        "tracking.project",
        "tracking.location",
    ]
    text = str(caught.value)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 13
    assert "tracking.location = 'http://evil.example'   (says where results are sent)" in text
    assert "--trust-recipe" in text


def test_what_the_user_sets_is_not_asked_about(recipe: Path) -> None:
    own = ReadOptions(
        images_root="photos",
        label_map="names.csv",
        root="copy",
        allow_private=True,
        label_pattern="{label}/*",
    )
    settings = ["model.backbone=timm:resnet18", "model.weights=a.pth", "tracking={}"]
    check_recipe(recipe, settings, read=own)
    with pytest.raises(UntrustedRecipeError) as caught:
        check_recipe(recipe, settings[:2], read=own, needs_data=True)
    assert _keys(caught.value) == [
        "about.data", "tracking.tracker", "tracking.project", "tracking.location"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[about]\ndata = 'fashion-mnist'",
        "[data]\nlabel = 'class'",
        "[data]\nlabel_pattern = '{split}/*_{label}.jpg'",
        "[model]\nbackbone = 'timm:resnet18'\nweights = 'random'",
        # A tracker that is off sends nothing.
        "[tracking]\nlocation = 'http://evil.example'",
    ],
)
def test_what_reaches_nothing_is_not_asked_about(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    check_recipe(path, needs_data=True)


def test_files_of_the_recipes_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[model]\nweights = 'weights.pth'\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    check_recipe(path)
    path.write_text("[model]\nweights = 'within/../../weights.pth'\n", encoding="utf-8")
    with pytest.raises(UntrustedRecipeError, match=r"model\.weights"):
        check_recipe(path)


@pytest.mark.parametrize("backbone", ["open_clip:local-dir:/home/x", "open_clip:hf-hub:some/one"])
def test_a_network_of_a_place_that_it_names_is_asked_about(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"[model]\nbackbone = '{backbone}'\n", encoding="utf-8")
    with pytest.raises(UntrustedRecipeError) as caught:
        check_recipe(path)
    assert _keys(caught.value) == ["model.backbone"]


def test_shipped_recipes_and_those_of_the_caller_are_trusted() -> None:
    for name in recipe_names():
        check_recipe(name, needs_data=True)
    check_recipe(Recipe().replace(tracking={"tracker": "mlflow", "location": "http://x"}))


def test_that_of_ones_own_run_is_trusted_as_it_was_written(recipe: Path) -> None:
    own = sealed_recipe(load_recipe(recipe))
    recipe.write_text(own, encoding="utf-8")
    check_recipe(recipe, needs_data=True)
    # What reaches nothing may be edited.
    recipe.write_text(own.replace("seed = 0", "seed = 7"), encoding="utf-8")
    check_recipe(recipe, needs_data=True)
    assert load_recipe(recipe).seed == 7
    changed = (
        own.replace("http://evil.example", "http://worse.example"),
        own.replace("# sealed: ", "# sealed: 0"),
        own.partition("# sealed")[0],
    )
    for text in changed:
        recipe.write_text(text, encoding="utf-8")
        with pytest.raises(UntrustedRecipeError):
            check_recipe(recipe, needs_data=True)


@pytest.mark.parametrize("verb", [("train", "--out"), ("compare", "--backbones", "a,b", "--out")])
def test_without_a_terminal_it_is_refused_before_any_work(
    verb: tuple[str, ...], recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_products(tmp_path / "data", per_class=2).folder
    out = tmp_path / "out"
    done = run_command(capsys, (*verb, out, data, "--recipe", recipe))
    assert done.code == 2
    assert "reaches what you did not name" in done.err
    assert "model.weights" in done.err
    assert not out.exists()


def test_on_a_terminal_it_is_asked_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(trusted: bool) -> str:
        if not trusted:
            raise UntrustedRecipeError("reaches", where="r.toml", details=["a.b = 'c\x1b[2J'"])
        return "done"

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(options.sys, "stdin", Terminal())
    monkeypatch.setattr(options.sys.stderr, "isatty", lambda: True, raising=False)
    answers = iter([False, True])
    monkeypatch.setattr(typer, "confirm", lambda *_args, **_kwargs: next(answers))
    with pytest.raises(UntrustedRecipeError):
        asked_about_recipe(work, trusted=False)
    assert asked_about_recipe(work, trusted=False) == "done"
    shown = capsys.readouterr().err
    assert "r.toml: reaches" in shown
    assert "a.b = 'c\\x1b[2J'" in shown
    assert asked_about_recipe(work, trusted=True) == "done"
