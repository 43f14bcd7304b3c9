"""The verbs: one function = one command, keyword-only, with a typed result.

`DATA` is whatever `open_catalog` reads: a folder, a table, a named data set, or a `Catalog`.
Importing this module is cheap: a name is imported when it is first used. Each verb lives in
`shopsight.commands`, and is one line here.
"""

from typing import TYPE_CHECKING

from shopsight.lazy import lazy_exports

if TYPE_CHECKING:
    from shopsight.audit.audit import AuditReport as AuditReport
    from shopsight.audit.gate import GateRules as GateRules
    from shopsight.backbones.presets import LeftOut as LeftOut
    from shopsight.backbones.presets import Preset as Preset
    from shopsight.cache_place import use_cache_dir as use_cache_dir
    from shopsight.catalog.catalog import Catalog as Catalog
    from shopsight.commands.adapt import AdaptResult as AdaptResult
    from shopsight.commands.adapt import adapt as adapt
    from shopsight.commands.audit import FINDING_KINDS as FINDING_KINDS
    from shopsight.commands.audit import FIXABLE_KINDS as FIXABLE_KINDS
    from shopsight.commands.audit import audit as audit
    from shopsight.commands.backbones import left_out as left_out
    from shopsight.commands.backbones import presets as presets
    from shopsight.commands.compare import compare as compare
    from shopsight.commands.compare import compare_backbones as compare_backbones
    from shopsight.commands.data import DataSet as DataSet
    from shopsight.commands.data import data_set as data_set
    from shopsight.commands.data import data_sets as data_sets
    from shopsight.commands.demo import DemoResult as DemoResult
    from shopsight.commands.demo import demo as demo
    from shopsight.commands.doctor import Fact as Fact
    from shopsight.commands.doctor import doctor as doctor
    from shopsight.commands.duplicates import DuplicatesResult as DuplicatesResult
    from shopsight.commands.duplicates import duplicates as duplicates
    from shopsight.commands.early_checks import check_model as check_model
    from shopsight.commands.early_checks import check_run as check_run
    from shopsight.commands.embed import EmbedResult as EmbedResult
    from shopsight.commands.embed import embed as embed
    from shopsight.commands.evaluate import evaluate as evaluate
    from shopsight.commands.evaluate_index import compare_indexes as compare_indexes
    from shopsight.commands.evaluate_index import evaluate_index as evaluate_index
    from shopsight.commands.evaluate_index import is_index as is_index
    from shopsight.commands.index import IndexChange as IndexChange
    from shopsight.commands.index import add_to_index as add_to_index
    from shopsight.commands.index import build_index as build_index
    from shopsight.commands.index import remove_from_index as remove_from_index
    from shopsight.commands.index import update_index as update_index
    from shopsight.commands.index_upkeep import IndexInfo as IndexInfo
    from shopsight.commands.index_upkeep import compact_index as compact_index
    from shopsight.commands.index_upkeep import index_info as index_info
    from shopsight.commands.index_upkeep import migrate_index as migrate_index
    from shopsight.commands.index_upkeep import snapshot_index as snapshot_index
    from shopsight.commands.index_upkeep import verify_index as verify_index
    from shopsight.commands.merge import MergeResult as MergeResult
    from shopsight.commands.merge import merge as merge
    from shopsight.commands.merge_rules import MergeRules as MergeRules
    from shopsight.commands.predict import predict as predict
    from shopsight.commands.profile import profile as profile
    from shopsight.commands.recipes import recipe as recipe
    from shopsight.commands.recipes import recipe_text as recipe_text
    from shopsight.commands.recipes import recipe_with as recipe_with
    from shopsight.commands.recipes import recipes as recipes
    from shopsight.commands.recommend import recommend as recommend
    from shopsight.commands.search import SearchResult as SearchResult
    from shopsight.commands.search import search as search
    from shopsight.commands.soup import SoupResult as SoupResult
    from shopsight.commands.soup import soup as soup
    from shopsight.commands.split import SplitResult as SplitResult
    from shopsight.commands.split import split as split
    from shopsight.commands.train import TrainResult as TrainResult
    from shopsight.commands.train import resume as resume
    from shopsight.commands.train import train as train
    from shopsight.commands.wizard import PredictionSummary as PredictionSummary
    from shopsight.commands.wizard import is_model as is_model
    from shopsight.commands.wizard import learned_from as learned_from
    from shopsight.commands.wizard import model_labels as model_labels
    from shopsight.commands.wizard import models_below as models_below
    from shopsight.commands.wizard import summarize_predictions as summarize_predictions
    from shopsight.commands.zero_shot import ZeroShotResult as ZeroShotResult
    from shopsight.commands.zero_shot import zero_shot as zero_shot
    from shopsight.config.about_settings import About as About
    from shopsight.config.defaults import DEFAULT_RECIPE as DEFAULT_RECIPE
    from shopsight.config.defaults import PROBE_RECIPE as PROBE_RECIPE
    from shopsight.config.recipe import Recipe as Recipe
    from shopsight.datasets.open import check_there as check_there
    from shopsight.datasets.open import open_catalog as open_catalog
    from shopsight.embeddings.runner import Runner as Runner
    from shopsight.evaluation.compare_words import about_cheapest as about_cheapest
    from shopsight.evaluation.compare_words import about_choice as about_choice
    from shopsight.evaluation.compare_words import about_report as about_report
    from shopsight.evaluation.compare_words import images_text as images_text
    from shopsight.evaluation.compare_words import verdict as verdict
    from shopsight.evaluation.comparison import Comparison as Comparison
    from shopsight.evaluation.comparison import Entry as Entry
    from shopsight.evaluation.recommend import Recommendation as Recommendation
    from shopsight.evaluation.score import Evaluation as Evaluation
    from shopsight.inference.load import load as load
    from shopsight.inference.predictor import Prediction as Prediction
    from shopsight.inference.predictor import Predictor as Predictor
    from shopsight.inference.writers import as_row as as_row
    from shopsight.memory import use_memory_budget as use_memory_budget
    from shopsight.metrics.intervals import Interval as Interval
    from shopsight.profiling.profile import Profile as Profile
    from shopsight.read_options import RUN_OPTIONS as RUN_OPTIONS
    from shopsight.read_options import ReadOptions as ReadOptions
    from shopsight.read_options import flag_of as flag_of
    from shopsight.runs.run_folder import RunFolder as RunFolder
    from shopsight.safe_names import safe_name as safe_name
    from shopsight.search.answers import Answer as Answer
    from shopsight.search.compare_indexes import IndexComparison as IndexComparison
    from shopsight.search.compare_indexes import index_names as index_names
    from shopsight.search.evaluate_index import IndexEvaluation as IndexEvaluation
    from shopsight.search.query_terms import parse_box as parse_box
    from shopsight.soups.averages import How as How
    from shopsight.soups.result import measure_title as measure_title
    from shopsight.text import command_line as command_line
    from shopsight.text import count_text as count_text
    from shopsight.text import counted as counted
    from shopsight.text import duration_text as duration_text
    from shopsight.text import human_bytes as human_bytes
    from shopsight.text import one_of as one_of
    from shopsight.text import percent_text as percent_text
    from shopsight.training.adapt_search import Change as Change
else:
    __getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
