from dataclasses import replace
from pathlib import Path

import pytest

from millirank_engines import EngineError, FakeEngine, Profile, Template
from millirank_engines.build.profiles import (
    NAME,
    OptimizationProfile,
    Profiles,
    Range,
    default_profiles,
    profiles_around,
    read_profiles,
    refuse_uncovered,
)
from millirank_engines.files import project_file
from millirank_engines.model import ModelSpec

GOOD = """
[rerank]
buckets = ["2x24", "50x32"]

[[rerank.optimization]]
batch = { min = 1, opt = 50, max = 64 }
length = { min = 24, opt = 32, max = 32 }
"""


def written(folder: Path, text: str) -> Path:
    file = folder / NAME
    file.write_text(text, "utf-8")
    return file


def spec(task: str, query: int, product: int, longest: int = 512) -> ModelSpec:
    made = FakeEngine(task=task, template=Template(query_tokens=query, product_tokens=product)).spec  # type: ignore[arg-type]
    return replace(made, max_length=longest)


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    profiles = read_profiles(written(tmp_path, GOOD), "rerank")
    around = OptimizationProfile(Range(1, 50, 64), Range(24, 32, 32))
    assert profiles == Profiles((Profile(2, 24), Profile(50, 32)), (around,))
    assert around.shapes() == ((1, 24), (50, 32), (64, 32))
    assert read_profiles(written(tmp_path, profiles.to_toml("rerank")), "rerank") == profiles


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[rerank]", "[rerank", "is no TOML"),
        ("rerank", "embed", r"has no table \[rerank\]"),
        ("buckets", "bucket", "unknown keys bucket: use buckets, optimization"),
        ('"50x32"', '"50"', "'50' is no profile"),
        ('["2x24", "50x32"]', "[]", "there is no bucket"),
        ("opt = 50", "opt = 65", "1…65…64 is no range: write 1 ≤ min ≤ opt ≤ max"),
        ("min = 1, ", "", "min"),
        ("batch", "batches", "unknown keys batches: use batch, length"),
        ('"50x32"', '"65x32"', "no optimization profile holds 65x32"),
        ('"2x24", "50x32"', '"2x64"', "no optimization profile holds 2x64"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(EngineError, match=message) as refused:
        read_profiles(file, "rerank")
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"give a profiles\.toml to --profiles"):
        read_profiles(tmp_path / "none.toml", "embed")


def test_an_optimization_profile_without_a_bucket_would_be_built_for_nothing() -> None:
    idle = OptimizationProfile(Range(100, 100, 100), Range(8, 8, 8))
    around = profiles_around([Profile(1, 8)])
    with pytest.raises(EngineError, match="no bucket runs on 100…100…100 x 8…8…8"):
        refuse_uncovered(replace(around, optimization=(*around.optimization, idle)))


def test_a_list_of_buckets_gets_one_profile_as_narrow_as_it_can_be() -> None:
    around = profiles_around([Profile(50, 32), Profile(2, 64), Profile(8, 24)])
    assert around.optimization == (OptimizationProfile(Range(2, 50, 50), Range(24, 32, 64)),)
    assert around.buckets == (Profile(2, 64), Profile(8, 24), Profile(50, 32))


@pytest.mark.parametrize(
    ("task", "query", "product", "longest"), [("embed", 24, 48, 64), ("rerank", 24, 32, 64), ("rerank", 24, 48, 80)]
)
def test_the_default_profiles_end_where_the_template_does(task: str, query: int, product: int, longest: int) -> None:
    profiles = default_profiles(spec(task, query, product))
    refuse_uncovered(profiles)
    assert max(bucket.length for bucket in profiles.buckets) == longest
    assert max(one.length.max for one in profiles.optimization) == longest
    assert ({1, 64} if task == "embed" else {2, 50, 512}) <= {b.batch for b in profiles.buckets}
    assert all(one.length.opt <= one.length.max for one in profiles.optimization)


def test_a_template_that_is_too_long_for_the_profiles_is_refused() -> None:
    with pytest.raises(EngineError, match=r"up to 302 tokens .* end at 128: .* goes on to 302"):
        default_profiles(spec("embed", 24, 300))
    assert max(b.length for b in default_profiles(spec("embed", 24, 300, longest=100)).buckets) == 100


def test_every_table_of_the_repositorys_own_file_is_whole() -> None:
    for task in ("embed", "rerank"):
        profiles = read_profiles(project_file(NAME), task)  # type: ignore[arg-type]
        assert len(profiles.optimization) >= 3
