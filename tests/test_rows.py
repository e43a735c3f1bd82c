import gzip
from pathlib import Path

import duckdb
import pytest

from millirank.catalog.fields import MAX_ID_BYTES, parse_map
from millirank.catalog.rows import BadRow, Row, read_products
from millirank.errors import CatalogError


def read(path: Path, data: str | bytes, *maps: str) -> list[Row | BadRow]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_products(path, parse_map(maps)))


def bad(found: list[Row | BadRow]) -> list[tuple[int, str]]:
    return [(row.line, row.reason.value) for row in found if isinstance(row, BadRow)]


def good(found: list[Row | BadRow]) -> list[dict]:
    return [row.product for row in found if isinstance(row, Row)]


FULL = (
    '{"id": "1", "title": "Red kettle", "brand": "Acme", "description": "Boils", "category": "Kitchen > Kettles", '
    '"price": 12.5, "currency": "EUR", "in_stock": true, "url": "u", "image_url": "i", '
    '"attributes": {"colour": "red"}}\n'
)
PRODUCT = {
    "id": "1",
    "title": "Red kettle",
    "brand": "Acme",
    "description": "Boils",
    "category": "Kitchen > Kettles",
    "price": 12.5,
    "currency": "EUR",
    "in_stock": True,
    "url": "u",
    "image_url": "i",
    "attributes": {"colour": "red"},
}


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL"])
def test_json_lines_hold_every_field_of_the_contract(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, FULL) == [Row(1, PRODUCT)]


def test_blank_lines_are_no_rows_but_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path / "a.jsonl", "\n" + FULL + "  \r\n" + FULL)
    assert [row.line for row in found] == [2, 4]


def test_a_byte_order_mark_and_a_missing_last_newline_are_accepted(tmp_path: Path) -> None:
    assert good(read(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + FULL.strip().encode())) == [PRODUCT]


def test_whole_number_ids_become_texts_and_unknown_columns_are_ignored(tmp_path: Path) -> None:
    assert good(read(tmp_path / "a.jsonl", '{"id": 7, "title": " T ", "sku": 9, "brand": null, "url": ""}')) == [
        {"id": "7", "title": "T"}
    ]


def test_attributes_that_are_numbers_or_booleans_become_texts(tmp_path: Path) -> None:
    line = (
        '{"id": 1, "title": "T", "attributes": {"w": 2.5, "wet": true, "none": null, "n": 3}, "category": ["A", "B"]}'
    )
    assert good(read(tmp_path / "a.jsonl", line)) == [
        {"id": "1", "title": "T", "category": "A > B", "attributes": {"w": "2.5", "wet": "true", "n": "3"}}
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"title": "T"}', "no id"),
        (b'{"id": " ", "title": "T"}', "no id"),
        (b'{"id": null, "title": "T"}', "no id"),
        (b'{"id": "1"}', "no title"),
        (b'{"id": "1", "title": " \\t"}', "no title"),
        (b'{"id": 1.5, "title": "T"}', "wrong type"),
        (b'{"id": true, "title": "T"}', "wrong type"),
        (b'{"id": "1", "title": ["T"]}', "wrong type"),
        (b'{"id": "1", "title": "T", "price": "cheap"}', "wrong type"),
        (b'{"id": "1", "title": "T", "price": true}', "wrong type"),
        (b'{"id": "1", "title": "T", "price": -0.01}', "bad value"),
        (b'{"id": "1", "title": "T", "in_stock": "yes"}', "wrong type"),
        (b'{"id": "1", "title": "T", "attributes": "red"}', "wrong type"),
        (b'{"id": "1", "title": "T", "attributes": {"a": ["b"]}}', "wrong type"),
        (b'{"id": "1", "title": "T", "price": NaN}', "broken JSON"),
        (b'{"id": "1", "title": "T"', "broken JSON"),
        (b'{"id": "1", "title": "\\ud800"}', "broken JSON"),
        (b'"a text"', "wrong type"),
        (b'{"id": "1", "title": "caf\xe9"}', "broken encoding"),
        (b'{"id": "' + b"x" * (MAX_ID_BYTES + 1) + b'", "title": "T"}', "bad value"),
    ],
)
def test_a_bad_json_row_is_named_by_line_and_the_rows_around_it_are_read(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    found = read(tmp_path / "a.jsonl", FULL.encode() + line + b"\n" + FULL.encode())
    assert bad(found) == [(2, reason)]
    assert good(found) == [PRODUCT, PRODUCT]


def test_a_line_without_end_is_skipped_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank.catalog.rows.MAX_LINE", 500)
    found = read(tmp_path / "a.jsonl", '{"id": 1, "title": "' + "x" * 5000 + '"}\n' + FULL)
    assert bad(found) == [(1, "broken JSON")]
    assert good(found) == [PRODUCT]


def test_a_json_array_is_refused_with_the_command_that_makes_lines(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"jq -c '\.\[\]'"):
        read(tmp_path / "a.json", "[" + FULL + "]")


CSV = "id,title,price,in_stock,attributes,attr.size,attributes.fit,other\n"


def test_csv_cells_become_numbers_booleans_and_attributes(tmp_path: Path) -> None:
    found = read(
        tmp_path / "a.csv", CSV + '1,"Mug, blue\nlarge",2.50,Yes,"{""colour"": ""blue""}",L,slim,x\n2,Cup,,,,,,\n'
    )
    attributes = {"colour": "blue", "size": "L", "fit": "slim"}
    assert found == [
        Row(2, {"id": "1", "title": "Mug, blue\nlarge", "price": 2.5, "in_stock": True, "attributes": attributes}),
        Row(4, {"id": "2", "title": "Cup"}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b",T,,,,,,", "no id"),
        (b"1,,,,,,,", "no title"),
        (b"1,T,12 EUR,,,,,", "wrong type"),
        (b"1,T,nan,,,,,", "bad value"),
        (b"1,T,inf,,,,,", "bad value"),
        (b"1,T,-3,,,,,", "bad value"),
        (b"1,T,,maybe,,,,", "wrong type"),
        (b"1,T,,,not a map,,,", "wrong type"),
        (b"1,T", "broken CSV"),
        (b"1,T,,,,,,,,", "broken CSV"),
        (b'1,"T"x,,,,,,', "broken CSV"),
        (b"1,caf\xe9,,,,,,", "broken encoding"),
    ],
)
def test_a_bad_csv_row_is_named_by_line_and_the_rows_around_it_are_read(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    found = read(tmp_path / "a.csv", CSV.encode() + b"0,First,,,,,,\n" + line + b"\n9,Last,,,,,,\n")
    assert bad(found) == [(3, reason)]
    assert [product["id"] for product in good(found)] == ["0", "9"]


def test_an_open_quote_costs_one_cell_not_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank.catalog.rows.MAX_CELL", 1000)
    found = read(tmp_path / "a.csv", 'id,title\n1,"open\n' + "".join(f"{n},title {n}\n" for n in range(2, 400)))
    assert bad(found) == [(2, "broken CSV")]
    assert good(found)[-1] == {"id": "399", "title": "title 399"}


def test_tsv(tmp_path: Path) -> None:
    assert good(read(tmp_path / "a.tsv", "id\ttitle\n1\tA, B\n")) == [{"id": "1", "title": "A, B"}]


@pytest.mark.parametrize("header", ["", "id,id,title\n", "id,t\xeftle\n".encode("latin-1")])
def test_a_csv_header_that_cannot_be_used_is_refused(tmp_path: Path, header: str | bytes) -> None:
    with pytest.raises(CatalogError, match="header"):
        read(tmp_path / "a.csv", header)


@pytest.mark.parametrize(
    ("name", "data"), [("a.jsonl.gz", FULL), ("a.csv.gz", "id,title\n1,A\n"), ("a.tsv.gz", "id\ttitle\n1\tA\n")]
)
def test_gzipped_texts(tmp_path: Path, name: str, data: str) -> None:
    assert good(read(tmp_path / name, gzip.compress(data.encode())))[0]["id"] == "1"


def test_a_cut_gzip_is_an_error_that_says_how_far_it_was_read(tmp_path: Path) -> None:
    data = gzip.compress("".join(f'{{"id": {n}, "title": "{n * n}"}}\n' for n in range(50_000)).encode())
    with pytest.raises(CatalogError, match=r"cannot be read past line \d+ .*fetch the file again"):
        read(tmp_path / "a.jsonl.gz", data[: len(data) // 2])


def test_parquet_with_maps_structs_decimals_and_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(
        "SELECT * FROM (VALUES (1, 'A', 1.50::DECIMAL(9,2), true, MAP{'colour': 'red'}), (NULL, 'B', 2, false, NULL), "
        "(3, NULL, 2, false, NULL), (4, 'D', -1, NULL, NULL)) t(id, title, price, in_stock, attributes)"
    ).write_parquet(str(path))
    found = list(read_products(path))
    assert good(found) == [{"id": "1", "title": "A", "price": 1.5, "in_stock": True, "attributes": {"colour": "red"}}]
    assert bad(found) == [(2, "no id"), (3, "no title"), (4, "bad value")]
    duckdb.sql("SELECT uuid() id, 'T' title, {'a': 1, 'b': NULL} attributes, 'L' \"attr.size\"").write_parquet(
        str(path)
    )
    (product,) = good(list(read_products(path)))
    assert product["attributes"] == {"a": "1", "size": "L"}
    assert len(product["id"]) == 36


def test_what_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="fetch the file again"):
        read(tmp_path / "a.parquet", "no parquet")


@pytest.mark.parametrize("name", ["a.xml", "a", "a.parquet.gz"])
def test_an_unknown_kind_of_file_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match=r"use \.jsonl, \.csv"):
        read(tmp_path / name, FULL)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no file"):
        list(read_products(tmp_path / "a.jsonl"))


def test_map_names_other_feeds_columns(tmp_path: Path) -> None:
    line = '{"sku": 5, "name": "Mug", "title": "not this", "colour": "red", "id": "nor this"}'
    assert good(read(tmp_path / "a.jsonl", line, "id=sku", "title=name", "attributes.color=colour")) == [
        {"id": "5", "title": "Mug", "attributes": {"color": "red"}}
    ]
    assert good(read(tmp_path / "a.csv", "sku,name\n5,Mug\n", "id = sku", "title=name")) == [
        {"id": "5", "title": "Mug"}
    ]


@pytest.mark.parametrize("pair", ["colour=color", "title", "=name", "title=", "attributes.=x"])
def test_a_map_that_makes_no_sense_is_refused(pair: str) -> None:
    with pytest.raises(CatalogError, match=r"--map"):
        parse_map([pair])


def test_an_unknown_field_names_the_known_ones_and_none_is_mapped_twice() -> None:
    with pytest.raises(CatalogError, match=r"no field colour: use one of id, title, brand"):
        parse_map(["colour=color"])
    with pytest.raises(CatalogError, match="mapped twice"):
        parse_map(["title=a", "title=b"])


@pytest.mark.parametrize(
    ("name", "data"), [("a.jsonl", '{"id": 1, "title": "T", "price": 3}\n'), ("a.csv", "id,title,price\n1,T,3\n")]
)
def test_a_map_to_a_column_that_no_row_has_names_those_seen(tmp_path: Path, name: str, data: str) -> None:
    with pytest.raises(CatalogError, match=r"'maker' for brand; its columns are id, title, price"):
        read(tmp_path / name, data, "brand=maker")


@pytest.mark.parametrize(("name", "data"), [("a.jsonl", '{"sku": 1, "name": "T"}\n'), ("a.csv", "sku,name\n1,T\n")])
def test_a_feed_without_ids_names_its_columns_and_the_option(tmp_path: Path, name: str, data: str) -> None:
    with pytest.raises(CatalogError, match=r"'id' for id; its columns are sku, name: .*--map id=COLUMN"):
        read(tmp_path / name, data)
