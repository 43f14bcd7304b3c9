"""One small export of each platform, with the traps that its format has."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError
from shopsight.exports.category_cells import category_cells
from shopsight.exports.export_files import platform_of
from shopsight.exports.platforms import PLATFORMS
from shopsight.read_options import PLATFORMS as FLAG_PLATFORMS
from shopsight.read_options import ReadOptions

CDN = "https://shop.example"


def file(tmp_path: Path, text: str, name: str = "export.csv") -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


def read(path: str, **options: object) -> Catalog:
    return open_catalog(path, ReadOptions(**options))  # type: ignore[arg-type]


def noted(catalog: Catalog, start: str) -> str:
    return next(note for note in catalog.notes if note.startswith(start))


def tsv(text: str) -> str:
    """Cells that stand with ` | ` between them, as they are within tabs."""
    return "\n".join("\t".join(map(str.strip, line.split("|"))) for line in text.split("\n"))


GOOGLE = f"""\
id | title | link | image_link | additional_image_link | product_type | google_product_category | \
item_group_id | price | color | size
1 | Tee | {CDN}/p/1 | {CDN}/red.jpg | {CDN}/back.jpg,{CDN}/a,b.jpg | Home > Tees | \
Apparel > Shirts | tee | 89.0 EUR | red | S
2 | Tee | {CDN}/p/2 | {CDN}/red.jpg | | Home > Tees | Apparel > Shirts | tee | 89.0 EUR | red | M
3 | Tee | {CDN}/p/3 | {CDN}/blue.jpg | | Home > Tees | Apparel > Shirts | tee | 89.0 EUR | blue | S
4 | Cup | {CDN}/p/4 | {CDN}/cup.jpg | | Cups | | | 1,299.00 USD | white/blue |
5 | Bowl | {CDN}/p/5 | | | Bowls | 123 | | | |
"""


@pytest.mark.parametrize("name", ["feed.tsv", "feed.txt"])
def test_google_by_rows_of_variants(tmp_path: Path, name: str) -> None:
    catalog = read(file(tmp_path, tsv(GOOGLE), name))
    columns = ("image", "label", "group", "variant", "position", "price", "currency", "color")
    assert catalog.table.select(columns).rows() == [
        (f"{CDN}/red.jpg", "Apparel > Shirts", "tee", "red", 1, 89.0, "EUR", "red"),
        (f"{CDN}/back.jpg", "Apparel > Shirts", "tee", "red / S", 2, 89.0, "EUR", "red"),
        (f"{CDN}/a,b.jpg", "Apparel > Shirts", "tee", "red / S", 3, 89.0, "EUR", "red"),
        (f"{CDN}/blue.jpg", "Apparel > Shirts", "tee", "blue / S", 4, 89.0, "EUR", "blue"),
        (f"{CDN}/cup.jpg", None, "4", None, 1, 1299.0, "USD", "white; blue"),
    ]
    assert catalog.table["size"].to_list() == ["S; M", "S", "S", "S", None]
    assert noted(catalog, "read as").endswith("5 rows: 3 of products, 2 of variants")
    assert noted(catalog, "3 products") == (
        "3 products, 5 images, 1 product without one; 1 without a category is unlabeled"
    )
    types = read(file(tmp_path, tsv(GOOGLE), name), label_column="type")
    assert types.table["label"].unique(maintain_order=True).to_list() == ["Home > Tees", "Cups"]


def test_google_in_the_form_of_names_and_repeated_columns(tmp_path: Path) -> None:
    text = f"""\
"ID","Title","Link","Image Link","Additional image link","Additional image link","Product type"
"1","Cup","{CDN}/1","{CDN}/1.jpg","{CDN}/2.jpg","{CDN}/3.jpg","Cups"
"""
    table = read(file(tmp_path, text)).table
    assert table["image"].to_list() == [f"{CDN}/1.jpg", f"{CDN}/2.jpg", f"{CDN}/3.jpg"]
    assert table["label"].to_list() == ["Cups"] * 3


def test_the_cells_of_categories_of_all_variants(tmp_path: Path) -> None:
    path = file(tmp_path, tsv(GOOGLE), "feed.tsv")
    assert category_cells([path]).select("group", "row", "column", "value").rows() == [
        ("tee", 2, 6, "Apparel > Shirts"),
        ("tee", 3, 6, "Apparel > Shirts"),
        ("tee", 4, 6, "Apparel > Shirts"),
        ("4", 5, 6, None),
        ("5", 6, 6, "123"),
    ]


META = f"""\
id,title,availability,link,image[0].url,image[1].url,fb_product_category,item_group_id,status
1,Sofa,in stock,{CDN}/1,{CDN}/1.jpg,{CDN}/2.jpg,Home > Furniture > Sofas,,active
2,Lamp,in stock,{CDN}/2,{CDN}/3.jpg,,Home > Lighting,,archived
"""


def test_meta_with_flattened_columns(tmp_path: Path) -> None:
    catalog = read(file(tmp_path, META))
    assert noted(catalog, "read as an export of Meta")
    assert catalog.table.select("image", "label", "group", "position").rows() == [
        (f"{CDN}/1.jpg", "Home > Furniture > Sofas", "1", 1),
        (f"{CDN}/2.jpg", "Home > Furniture > Sofas", "1", 2),
        (f"{CDN}/3.jpg", "Home > Lighting", "2", 1),
    ]
    assert len(read(file(tmp_path, META), status="active")) == 2


WOO_HEADER = (
    "ID,Type,SKU,Name,Published,Is featured?,Visibility in catalog,Short description,Description,"
    "Date sale price starts,Date sale price ends,Tax status,Tax class,In stock?,Stock,"
    "Low stock amount,Backorders allowed?,Sold individually?,Weight (kg),Length (cm),Width (cm),"
    "Height (cm),Allow customer reviews?,Purchase note,Sale price,Regular price,Categories,Tags,"
    "Shipping class,Images,Download limit,Download expiry days,Parent,Grouped products,Upsells,"
    "Cross-sells,External URL,Button text,Position,Attribute 1 name,Attribute 1 value(s),"
    "Attribute 1 visible,Attribute 1 global"
)


def woo(**cells: str) -> str:
    names = {
        "id": "ID", "type": "Type", "sku": "SKU", "name": "Name", "published": "Published",
        "price": "Regular price", "categories": "Categories", "images": "Images",
        "parent": "Parent", "attribute": "Attribute 1 name", "values": "Attribute 1 value(s)",
        "visibility": "Visibility in catalog",
    }  # fmt: skip
    row = dict.fromkeys(WOO_HEADER.split(","), "") | {"Visibility in catalog": "visible"}
    row |= {names[key]: cell for key, cell in cells.items()}
    return ",".join(f'"{cell}"' for cell in row.values())


WOO_ROWS = [
    woo(id="44", type="variable", sku="", name="Hoodie", published="1", price="20",
        categories="Clothing, Clothing > Hoodies", images=f"{CDN}/h.jpg, {CDN}/h2.jpg",
        attribute="Größe, Farbe", values="Red, Green"),
    woo(id="45", type="variation", sku="H-R", name="Hoodie - Red", published="1", parent="id:44",
        images=f"{CDN}/red.jpg", attribute="Größe, Farbe", values="Red"),
    woo(id="46", type="variation, virtual", sku="H-G", name="Hoodie - Green", published="1",
        parent="id:44", attribute="Größe, Farbe", values="Green"),
    woo(id="47", type="simple, downloadable", sku="MUG", name="Mug", published="-1", price="9,50",
        categories="Uncategorized", images=f"{CDN}/mug.jpg"),
    woo(id="48", type="simple", sku="CD", name="CD", published="0", images=f"{CDN}/cd.jpg",
        categories=r"Music\, Film > Rock, Sale"),
    woo(id="49", type="variation", sku="X", name="Lost", parent="GONE", images=f"{CDN}/x.jpg"),
]  # fmt: skip


def test_woocommerce_with_variations(tmp_path: Path) -> None:
    catalog = read(file(tmp_path, "\n".join([WOO_HEADER, *WOO_ROWS])))
    columns = ("image", "label", "group", "variant", "position", "status", "größe_farbe")
    assert catalog.table.select(columns).rows() == [
        (f"{CDN}/h.jpg", "Clothing > Hoodies", "44", None, 1, "active", "Red; Green"),
        (f"{CDN}/h2.jpg", "Clothing > Hoodies", "44", None, 2, "active", "Red; Green"),
        (f"{CDN}/red.jpg", "Clothing > Hoodies", "44", "Red", 3, "active", "Red"),
        (f"{CDN}/mug.jpg", None, "MUG", None, 1, "draft", None),
        (f"{CDN}/cd.jpg", "Music, Film > Rock", "CD", None, 1, "private", None),
    ]
    assert catalog.table["price"].to_list() == [20.0, 20.0, 20.0, 9.5, None]
    assert noted(catalog, "left out, of no product") == (
        "left out, of no product by their 'Parent': 1 row"
    )
    assert noted(catalog, "in several categories").startswith("in several categories: 1 product;")
    assert noted(catalog, "3 products") == (
        "3 products, 5 images; 1 without a category is unlabeled"
    )
    with pytest.raises(CatalogError, match="WooCommerce has no type"):
        read(file(tmp_path, "\n".join([WOO_HEADER, *WOO_ROWS])), label_column="type")


@pytest.mark.parametrize("gtin", ["", "GTIN, UPC, EAN oder ISBN"])
def test_woocommerce_in_the_language_of_the_store(tmp_path: Path, gtin: str) -> None:
    known = read(file(tmp_path, "\n".join([WOO_HEADER, *WOO_ROWS]))).table
    german = [
        *("ID", "Typ", "Artikelnummer", "Name", "Veröffentlicht", "Ist hervorgehoben?"),
        *("Sichtbarkeit im Katalog", "Kurzbeschreibung", "Beschreibung"),
        *(f"Spalte {letter}" for letter in "abcdefghijklmno"),
        *("Angebotspreis", "Regulärer Preis", "Kategorien", "Schlagwörter", "Versandklasse"),
        *("Bilder", "Downloadlimit", "Ablauf", "Übergeordnetes Produkt", "Gruppiert", "Upsells"),
        *("Cross-Sells", "Externe URL", "Button-Text", "Position", "Attribut 1 Name"),
        *("Attribut 1 Wert(e)", "Attribut 1 Sichtbar", "Attribut 1 Global"),
    ]
    rows = WOO_ROWS
    if gtin:
        german.insert(3, f'"{gtin}"')
        rows = ['","'.join([*row.split('","')[:3], "", *row.split('","')[3:]]) for row in rows]
    catalog = read(file(tmp_path, "\n".join([",".join(german), *rows])))
    assert catalog.table.equals(known)
    assert "title 'Name', images 'Bilder'" in noted(catalog, "columns by their places")


MAGENTO = """\
sku,store_view_code,attribute_set_code,product_type,categories,name,description,price,\
product_online,base_image,additional_images,swatch_image,additional_attributes,\
configurable_variations
TEE-S,,Top,simple,Default Category/Men/Tees,Tee S,<p>a</p>,29,1,/t/e/red.jpg,,,"color=Red,size=S",
TEE-M,,Top,simple,Default Category/Men/Tees,Tee M,<p>a</p>,29,1,/t/e/blue.jpg,,,"color=Blue,size=M",
TEE,,Top,configurable,"Default Category/Men,Default Category/Men/Tees",Tee,<p>a</p>,29,1,\
/t/e/main.jpg,"/t/e/main.jpg,/t/e/back.jpg",/s/w/swatch.jpg,"activity=Gym|Run, fast,pattern=Solid",\
"sku=TEE-S,color=Red,size=S|sku=TEE-M,color=Blue,size=M"
TEE,german,,,,Hemd,,,,,,,,
BAG,,Bag,simple,Default Category,Bag,,10,2,no_selection,,,,
"""


def test_magento_with_configurable_products(tmp_path: Path) -> None:
    path = file(tmp_path, MAGENTO, "catalog_product.csv")
    for name in ("red", "blue", "main", "back"):
        photo = tmp_path / "pub/media/catalog/product/t/e" / f"{name}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"x")
    catalog = read(path)
    columns = ("image", "label", "group", "variant", "text", "color", "activity", "pattern")
    folder = "pub/media/catalog/product"
    assert [Path(row[0]).name for row in catalog.table.select(columns).rows()] == [
        *("main.jpg", "back.jpg", "red.jpg", "blue.jpg"),
    ]
    assert catalog.table.select(columns[1:]).rows() == [
        ("Men > Tees", "TEE", None, "Tee", None, "Gym; Run, fast", "Solid"),
        ("Men > Tees", "TEE", None, "Tee", None, "Gym; Run, fast", "Solid"),
        ("Men > Tees", "TEE", "Red / S", "Tee", "Red", "Gym; Run, fast", "Solid"),
        ("Men > Tees", "TEE", "Blue / M", "Tee", "Blue", "Gym; Run, fast", "Solid"),
    ]
    assert all(Path(ref).is_file() for ref in catalog.refs())
    assert folder in catalog.refs()[0]
    assert noted(catalog, "2 products") == (
        "2 products, 4 images, 1 product without one; 1 without a category is unlabeled"
    )
    assert noted(catalog, "read as").endswith("5 rows: 2 of products, 2 of variants, 1 of neither")
    assert category_cells([path])["row"].to_list() == [2, 3, 4, 6]
    assert read(path, images_root=str(tmp_path / folder)).refs() == catalog.refs()


PRESTASHOP = f"""\
Product ID;Active (0/1);Name *;Categories (x,y,z...);Price tax excluded;Reference #;Summary;\
Tags (x,y,z...);Image URLs (x,y,z...);Feature(Name:Value:Position)
1;1;iPod;"Home,Home/iPods";66.05;r1;<p>x</p>;apple,music;{CDN}/1.jpg,{CDN}/2.jpg;\
"Height:10 cm:1,Color:Red:2"
2;0;Shuffle;Home;"12,50";r2;;;{CDN}/3.jpg;
"""


def test_prestashop(tmp_path: Path) -> None:
    catalog = read(file(tmp_path, PRESTASHOP))
    columns = ("image", "label", "group", "price", "status", "height", "color")
    assert catalog.table.select(columns).rows() == [
        (f"{CDN}/1.jpg", "iPods", "1", 66.05, "active", "10 cm", "Red"),
        (f"{CDN}/2.jpg", "iPods", "1", 66.05, "active", "10 cm", "Red"),
        (f"{CDN}/3.jpg", None, "2", 12.5, "disabled", None, None),
    ]


def test_prestashop_in_the_language_of_the_shop(tmp_path: Path) -> None:
    text = f"""\
ID produit;Actif (0/1);Nom *;Catégories (x,y,z...);Prix HT;Référence;Résumé;Étiquettes (x,y,z...);\
URL des images (x,y,z...)
1;1;Théière;Accueil/Thé;66,05;r1;x;thé;{CDN}/1.jpg,{CDN}/2.jpg
"""
    catalog = read(file(tmp_path, text))
    assert catalog.table.select("image", "label", "group", "text", "price").rows() == [
        (f"{CDN}/1.jpg", "Thé", "1", "Théière", 66.05),
        (f"{CDN}/2.jpg", "Thé", "1", "Théière", 66.05),
    ]
    assert noted(catalog, "columns by their places").endswith("images 'URL des images (x,y,z...)'")


BIGCOMMERCE = f"""\
Item Type,Product ID,Product Name,Product Type,Product Code/SKU,Category,Price,Product Visible?,\
Product Image File - 1,Product Image URL - 1,Product Image File - 2,Product Image URL - 2
Product,77,Shirt,P,SH,Shop/Men;Shop/Men/Shirts,15,Y,a/1.jpg,{CDN}/1.jpg,a/2.jpg,{CDN}/2.jpg
  SKU,,"[RB]Color=Red,[S]Size=M",,SH-R,,,,a/3.jpg,{CDN}/3.jpg,,
  SKU,,"[RB]Color=Blue,[S]Size=M",,SH-B,,,,,,,
  Rule,,SH-R,,,,5,,,,,
Product,78,Tie,P,TI,,9,N,{CDN}/tie.jpg,,,
"""


def test_bigcommerce_with_rows_below_the_product(tmp_path: Path) -> None:
    path = file(tmp_path, BIGCOMMERCE)
    catalog = read(path)
    assert catalog.table.select("image", "label", "group", "variant", "status").rows() == [
        (f"{CDN}/1.jpg", "Shop > Men > Shirts", "77", None, "active"),
        (f"{CDN}/2.jpg", "Shop > Men > Shirts", "77", None, "active"),
        (f"{CDN}/3.jpg", "Shop > Men > Shirts", "77", "Red / M", "active"),
        (f"{CDN}/tie.jpg", None, "78", None, "hidden"),
    ]
    assert noted(catalog, "read as").endswith("5 rows: 2 of products, 2 of variants, 1 of neither")
    assert category_cells([path])["row"].to_list() == [2, 6]
    lines = BIGCOMMERCE.split("\n")
    with pytest.raises(CatalogError, match="begins within a product: row 2"):
        read(file(tmp_path, "\n".join([lines[0], *lines[2:]]), "half.csv"))


def test_bigcommerce_of_today(tmp_path: Path) -> None:
    text = f"""\
Item,ID,Name,Type,SKU,Options,Price,Categories,Is Visible,Variant Image URL,\
Internal Image URL (Export),Image URL (Import),Image Sort Order
Product,100,Guitar,physical,G,,50,23;24,TRUE,,,,
Variant,300,,,G-R,Type=Swatch|Name=Color|Value=Red,,,,{CDN}/v.jpg,,,
Image,200,,,,,,,,,{CDN}/2.jpg?c=1,https://elsewhere.example/2.jpg,1
Image,201,,,,,,,,,,{CDN}/1.jpg,0
"""
    table = read(file(tmp_path, text)).table
    assert table.select("image", "group", "variant", "position").rows() == [
        (f"{CDN}/1.jpg", "100", None, 1),
        (f"{CDN}/2.jpg?c=1", "100", None, 2),
        (f"{CDN}/v.jpg", "100", "Red", 3),
    ]


AMAZON = f"""\
TemplateType=Clothing | Version=2019.0101 | The top 3 rows are for Amazon.com | | | | | | | |
Product Type | Seller SKU | Product Name | Price | Main Image URL | Other Image URL | Swatch | \
Parentage | Parent SKU | Color | Item Type Keyword
feed_product_type | item_sku | item_name | standard_price | main_image_url | other_image_url1 | \
swatch_image_url | parent_child | parent_sku | color_name | item_type
shirt | TEE | Tee | | {CDN}/p.jpg | | | parent | | | t-shirts
shirt | TEE-R | Tee red | 9.99 | {CDN}/r.jpg | {CDN}/r2.jpg | {CDN}/s.jpg | child | TEE | Red |
shirt | TEE-B | Tee blue | 9.99 | {CDN}/b.jpg | | {CDN}/s.jpg | child | TEE | Blue |
hat | HAT | Hat | 5 | {CDN}/hat.jpg | | | | | | hats
"""


def test_amazon_with_three_rows_of_headers(tmp_path: Path) -> None:
    path = file(tmp_path, tsv(AMAZON), "flat.txt")
    catalog = read(path)
    columns = ("image", "label", "group", "variant", "text", "price", "source_row", "color_name")
    assert catalog.table.select(columns).rows() == [
        (f"{CDN}/p.jpg", "t-shirts", "TEE", None, "Tee", 9.99, 4, None),
        (f"{CDN}/r.jpg", "t-shirts", "TEE", "Red", "Tee", 9.99, 4, "Red"),
        (f"{CDN}/r2.jpg", "t-shirts", "TEE", "Red", "Tee", 9.99, 4, "Red"),
        (f"{CDN}/b.jpg", "t-shirts", "TEE", "Blue", "Tee", 9.99, 4, "Blue"),
        (f"{CDN}/hat.jpg", "hats", "HAT", None, "Hat", 5.0, 7, None),
    ]
    assert "passed over, above the names of the columns: 2 rows" in catalog.notes
    assert category_cells([path]).select("row", "value").rows() == [
        (4, "t-shirts"), (5, None), (6, None), (7, "hats"),
    ]  # fmt: skip


def test_any_quotes_may_stand_above_the_names(tmp_path: Path) -> None:
    text = tsv(AMAZON).replace("The top 3 rows", '"The" top 3 rows', 1)
    assert len(read(file(tmp_path, text, "flat.txt"))) == 5


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (tsv(GOOGLE), "google"),
        (META, "meta"),
        ("\n".join([WOO_HEADER, *WOO_ROWS]), "woocommerce"),
        (MAGENTO, "magento"),
        (PRESTASHOP, "prestashop"),
        (BIGCOMMERCE, "bigcommerce"),
        (tsv(AMAZON), "amazon"),
        ("image,label,price\na.jpg,hat,3\n", None),
        ("id,title,image_link,label\n1,Cup,a.jpg,cup\n", None),
        ("name,type,images,categories\nCup,simple,a.jpg,Cups\n", None),
        ("", None),
    ],
)
def test_platforms_are_told_apart(tmp_path: Path, text: str, name: str | None) -> None:
    found = platform_of(file(tmp_path, text))
    assert (found.name if found else None) == name


def test_a_platform_that_does_not_fit_names_the_missing_columns(tmp_path: Path) -> None:
    path = file(tmp_path, META)
    with pytest.raises(CatalogError, match="by its columns it is of Meta") as error:
        read(path, platform="magento")
    assert "no column 'base_image'" in str(error.value)
    assert "--platform meta" in str(error.value)


def test_exports_of_two_platforms_are_not_one(tmp_path: Path) -> None:
    first = file(tmp_path, META, "a.csv")
    second = file(tmp_path, PRESTASHOP, "b.csv")
    with pytest.raises(CatalogError, match="is of Meta"):
        read(f"{first},{second}")
    with pytest.raises(CatalogError, match="exports of several shop systems: Meta, PrestaShop"):
        read(str(tmp_path))


def test_the_platforms_of_the_flag_are_those_that_are_read() -> None:
    assert list(PLATFORMS) == list(FLAG_PLATFORMS)
    assert all(one.name == name for name, one in PLATFORMS.items())
