from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from millirank.config import Settings
from millirank.errors import ConfigError


def test_defaults_need_only_an_index() -> None:
    settings = Settings.from_mapping({"index": "shop"})
    assert settings == Settings(index=Path("shop"))
    assert settings.engine_folder == Path("shop/engines")
    assert Settings.from_mapping({"index": "shop", "engines": "e"}).engine_folder == Path("e")
    assert Settings.from_mapping({"index": "shop", "engines": None}).engines is None


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings(index=Path("shop")).port = 1  # type: ignore[misc]


def test_unknown_keys_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting depth, prot: the settings are index, .*rerank_depth"):
        Settings.from_mapping({"index": "shop", "prot": 1, "depth": 2})


def test_an_index_is_wanted() -> None:
    with pytest.raises(ConfigError, match="--index DIR"):
        Settings.from_mapping({"port": 1})


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("index", 7, "give a path"),
        ("index", None, "give a path"),
        ("engines", ["a"], "give a path"),
        ("host", 127, "give a name or an address"),
        ("port", "50051", "give a number"),
        ("port", True, "give a number"),
        ("port", None, "give a number"),
        ("port", 80.5, "give a whole number"),
        ("rerank_depth", 49.9, "give a whole number"),
        ("threads", [2], "give a number"),
        ("sla_ms", "10", "give a number"),
        ("sla_ms", False, "give a number"),
    ],
)
def test_a_wrong_type_is_refused_by_name(name: str, value: Any, fix: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is .*: {fix}$"):
        Settings.from_mapping({"index": "shop", name: value})


def test_numbers_take_the_type_of_their_setting() -> None:
    settings = Settings.from_mapping({"index": Path("shop"), "sla_ms": 25, "port": 8080.0})
    assert (settings.sla_ms, settings.port) == (25.0, 8080)
    assert (type(settings.sla_ms), type(settings.port)) == (float, int)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("port", 0),
        ("sla_ms", 0),
        ("reply_reserve_ms", 0),
        ("rerank_depth", 0),
        ("candidates", 1),
        ("frontends", 0),
        ("metrics_port", 0),
        ("drain_seconds", 0),
        ("threads", 0),
    ],
)
def test_a_value_below_its_bound_is_refused_and_the_bound_is_not(name: str, least: int) -> None:
    assert getattr(Settings.from_mapping({"index": "shop", name: least}), name) == least
    with pytest.raises(ConfigError, match=rf"^{name} is -?\d.*: set it to {least} or more$"):
        Settings.from_mapping({"index": "shop", name: least - 1})


def test_a_promise_that_its_reserve_uses_up_is_refused() -> None:
    for sla, reserve in ((1.0, 1.0), (0.5, 1.0), (10, 11)):
        with pytest.raises(ConfigError, match="raise sla_ms"):
            Settings(index=Path("shop"), sla_ms=sla, reply_reserve_ms=reserve)
    assert Settings(index=Path("shop"), sla_ms=1.1, reply_reserve_ms=1.0).sla_ms == 1.1
    assert Settings(index=Path("shop"), sla_ms=0).sla_ms == 0  # no limit


def test_toml_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "millirank.toml"
    file.write_text('index = "shop"\nsla_ms = 20\nrerank_depth = 30\nhost = "::1"\n')
    assert Settings.from_toml(file, {"rerank_depth": 10}) == Settings(
        index=Path("shop"), sla_ms=20.0, rerank_depth=10, host="::1"
    )
    file.write_text("port = 1\n")
    assert Settings.from_toml(file, {"index": Path("shop")}).port == 1
    with pytest.raises(ConfigError, match="--index DIR"):
        Settings.from_toml(file, {})


@pytest.mark.parametrize("content", [b"index = ", b'index = "a"\nindex = "b"\n', b"\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "millirank.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"millirank\.toml is no readable TOML file"):
        Settings.from_toml(file, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml is no readable TOML file .*leave out --config"):
        Settings.from_toml(tmp_path / "none.toml", {})


def test_an_unknown_key_of_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "millirank.toml"
    file.write_text('index = "shop"\n[server]\nport = 1\n')
    with pytest.raises(ConfigError, match="unknown setting server"):
        Settings.from_toml(file, {})
