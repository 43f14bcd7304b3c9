"""DeepFashion In-Shop Clothes Retrieval: photos of clothes in a shop, with boxes."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.catalog.held_out_classes import HELD_OUT
from shopsight.datasets.published_copy import copy_folder, part_of, read_word_table, require_folders
from shopsight.errors import DamagedFileError, SourceError
from shopsight.io.json_files import read_json
from shopsight.text import counted

NAME = "deepfashion-inshop"
PUBLISHER = "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html"
PARTITION, BOXES = "Eval/list_eval_partition.txt", "Anno/list_bbox_inshop.txt"
DESCRIPTIONS = "Anno/list_description_inshop.json"
PARTITION_COLUMNS = ("image_name", "item_id", "evaluation_status")
BOX_LIST_COLUMNS = ("image_name", "clothes_type", "pose_type", "x_1", "y_1", "x_2", "y_2")
SPLIT_OF_STATUS = {"train": "train", "query": "test", "gallery": "test"}
CLOTHES_TYPES = {"1": "upper body", "2": "lower body", "3": "full body"}
POSES = {"1": "front", "2": "side", "3": "back", "4": "zoom out", "5": "zoom in", "6": "alone"}


def open_deepfashion_inshop(root: Path | None) -> Catalog:
    """Read 52,712 photos of 7,982 items, in the official parts, which share no item.

    The label and the group are the item. `evaluation_status` is train, query or gallery; the split
    makes test of the last two, whose classes are held out. From the path come `department` (MEN,
    WOMEN) and `category`, from the list of boxes the box, `clothes_type` and `pose`, from the
    descriptions `color` and `text`. The boxes are of the images in `img/`, at most 256 pixels wide
    and high: where only `img_highres/` is there, a row is about its whole image.

    Args:
        root: the folder with Eval/, Anno/ and Img/, or with the files of these directly.

    Raises:
        SourceError: a part of it is missing or damaged.
    """
    home = copy_folder(
        root,
        NAME,
        parts=(PARTITION,),
        inside=("In-shop Clothes Retrieval Benchmark",),
        publisher=PUBLISHER,
    )
    partition = part_of(home, PARTITION) or home / PARTITION
    images, folder = _images(home)
    table = read_word_table(partition, PARTITION_COLUMNS, begins_with_count=True)
    _check_statuses(table, partition)
    table, notes = _with_boxes(table, home, boxed=folder == "img")
    table = table.with_columns(pl.col("image_name").str.replace("^img/", f"{folder}/"))
    require_folders(
        images,
        table["image_name"]
        .str.extract("^((?:[^/]+/){2}[^/]+)/", 1)
        .drop_nulls()
        .unique()
        .to_list(),
        named_by=PARTITION,
    )
    table = _with_descriptions(table, home).select(
        pl.col("image_name").alias("image"),
        pl.col("item_id").alias("label"),
        pl.col("item_id").alias("group"),
        pl.col("evaluation_status").replace_strict(SPLIT_OF_STATUS).alias("split"),
        (pl.col("evaluation_status") != "train").alias(HELD_OUT),
        pl.col("image_name").str.extract("^[^/]+/([^/]+)/", 1).alias("department"),
        pl.col("image_name").str.extract("^[^/]+/[^/]+/([^/]+)/", 1).alias("category"),
        pl.all().exclude("image_name", "item_id"),
    )
    notes = ["label and group are the item; query and gallery are test", *notes]
    return Catalog(table, NAME, str(images), notes=tuple(notes))


def _images(home: Path) -> tuple[Path, str]:
    """The folder that names of images are relative to, and the one in it."""
    for folder in ("img", "img_highres"):
        for images in (home / "Img", home):
            # By its exact name: to some systems `Img` and `img` are one.
            if images.is_dir() and folder in (path.name for path in images.iterdir()):
                return images, folder
    packed = [path for path in (home / "Img" / "img.zip", home / "img.zip") if path.is_file()]
    raise SourceError(
        "Img/img/ is missing",
        where=str(home),
        details=[f"{NAME} has the images in Img/img/, or img/ beside the lists"],
        fix=f"unpack {packed[0]} there" if packed else f"--root FOLDER with it; {PUBLISHER}",
    )


def _check_statuses(table: pl.DataFrame, partition: Path) -> None:
    odd = set(table["evaluation_status"].unique()) - set(SPLIT_OF_STATUS)
    if odd:
        raise SourceError(
            "is damaged: it has parts that were not published",
            where=str(partition),
            details=sorted(odd),
        )


def _with_boxes(table: pl.DataFrame, home: Path, *, boxed: bool) -> tuple[pl.DataFrame, list[str]]:
    """The table with the box of each row, where the list of boxes is there, and notes."""
    path = part_of(home, BOXES)
    if path is None:
        return table, [f"no boxes: {BOXES} is not there"]
    found = read_word_table(path, BOX_LIST_COLUMNS, begins_with_count=True)
    edges = ("x_1", "y_1", "x_2", "y_2")
    numbers = found.with_columns(pl.col(edges).cast(pl.Float64, strict=False))
    odd = numbers.filter(pl.any_horizontal(pl.col(edges).is_null()))
    if len(odd):
        raise SourceError(
            f"is damaged: {counted(len(odd), 'box')} without its four numbers",
            where=str(path),
            details=odd["image_name"].to_list(),
        )
    sides = [pl.col("x_1"), pl.col("y_1"), pl.col("x_2") - pl.col("x_1")]
    sides.append(pl.col("y_2") - pl.col("y_1"))
    has_area = (pl.col("x_2") > pl.col("x_1")) & (pl.col("y_2") > pl.col("y_1"))
    boxes = numbers.unique("image_name", keep="first", maintain_order=True).select(
        "image_name",
        pl.col("clothes_type").replace_strict(CLOTHES_TYPES, default=pl.col("clothes_type")),
        pl.col("pose_type").replace_strict(POSES, default=pl.col("pose_type")).alias("pose"),
        *(
            pl.when(has_area).then(side).alias(name)
            for side, name in zip(sides, BOX_COLUMNS, strict=True)
        ),
    )
    joined = table.join(boxes, on="image_name", how="left", maintain_order="left")
    if not boxed:
        note = "no boxes: they are of the images in img/, and img_highres/ alone is there"
        return joined.drop(BOX_COLUMNS), [note]
    bare = joined[BOX_COLUMNS[0]].null_count()
    notes = [f"each row is about its box, from {BOXES}"]
    if bare:
        notes[0] += f"; {counted(bare, 'row')} without one: the whole image"
    return joined, notes


def _with_descriptions(table: pl.DataFrame, home: Path) -> pl.DataFrame:
    """The table with the color and the description of each item, where these are there."""
    path = part_of(home, DESCRIPTIONS)
    if path is None:
        return table
    try:
        found = [
            (str(one["item"]), str(one["color"]).strip(), " ".join(map(str, one["description"])))
            for one in read_json(path)
        ]
    except (DamagedFileError, KeyError, TypeError) as error:
        raise SourceError(
            "is damaged: it is no list of items, each with its color and description",
            where=str(path),
            fix="copy it again, or leave it out: no other column depends on it",
        ) from error
    described = pl.DataFrame(
        found, schema={"item_id": pl.String, "color": pl.String, "text": pl.String}, orient="row"
    )
    first = described.unique("item_id", keep="first", maintain_order=True)
    return table.join(first, on="item_id", how="left", maintain_order="left")
