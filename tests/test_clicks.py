"""Clicks as grades."""

from pathlib import Path

import pytest

from millirank.errors import CatalogError
from millirank.mining import read_clicks


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_clicks_add_up_and_become_grades(tmp_path: Path) -> None:
    rows = "usb hub,a,60\nusb hub,a,39\nusb hub,b,9\nusb hub,c,1\nusb hub,d,0\ntent,x,1\n"
    found = read_clicks(write(tmp_path / "clicks.csv", "query,id,click\n" + rows))
    assert found == {"usb hub": {"a": 3, "b": 2, "c": 1, "d": 0}, "tent": {"x": 3}}


def test_grades_stay_as_they_are(tmp_path: Path) -> None:
    assert read_clicks(write(tmp_path / "grades.csv", "query,id,grade\na,1,2\na,2,0\n")) == {"a": {"1": 2, "2": 0}}


def test_of_grades_in_several_rows_the_highest_counts(tmp_path: Path) -> None:
    rows = "query,id,rating\na,1,3\na,1,2\na,2,0\na,2,1\n"
    assert read_clicks(write(tmp_path / "grades.csv", rows)) == {"a": {"1": 3, "2": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query,docid\na,1\n", "columns query,id,grade or query,id,click"),
        ("query,id,click\na,1,-1\n", "whole numbers from 0"),
        ("query,id,click\na,1,much\n", "whole numbers from 0"),
        ("query,id,click\na,1,0\n", "add some"),
    ],
)
def test_what_is_no_click_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read_clicks(write(tmp_path / "clicks.csv", text))
