from pathlib import Path

import pytest
from typer.testing import CliRunner

from millirank.cli import app
from millirank.errors import CatalogError, ConfigError


def test_help_names_the_defaults_that_the_settings_hold() -> None:
    text = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["serve", "--help"]).output
    for default in ("50051", "127.0.0.1", "10", "INDEX/engines"):
        assert f"[default: {default}]" in text


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("feed.txt", b"", [], "of no known kind"),
        ("feed.parquet", b"no parquet", [], r"cannot be read \([^\n]*\): fetch the file again"),
        ("feed.csv", b"sku,name\n1,Lamp\n", [], "--map id=COLUMN"),
        ("feed.jsonl", b'{"id": "1", "title": "Lamp"}', ["--analyzer", "german"], "use one of english, words"),
    ],
)
def test_an_index_that_cannot_be_made_is_refused_before_engines_are_built(
    tmp_path: Path, name: str, content: bytes, options: list[str], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    arguments = ["index", "--catalog", str(tmp_path / name), "--out", str(tmp_path / "shop"), *options]
    with pytest.raises(CatalogError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (tmp_path / "shop").exists()


def test_several_processes_are_refused_where_there_is_no_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank.processes.service.sys.platform", "darwin")
    monkeypatch.setattr("millirank.processes.service.os.execv", lambda *_: pytest.fail("it was started"))
    with pytest.raises(ConfigError, match="need Linux, this is darwin: serve from one with --frontends 0"):
        CliRunner().invoke(app, ["serve", "--index", str(tmp_path), "--frontends", "1"], catch_exceptions=False)
