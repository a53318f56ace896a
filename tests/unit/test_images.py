"""The images of the tests are built once; an interrupted build leaves nothing."""

import pytest

from tests.servers import images


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REMOTO_TEST_CACHE", str(tmp_path))
    return tmp_path


def tars(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != "lock")


def test_image_is_built_once(cache, monkeypatch):
    built = []

    def build(root):
        built.append(root)
        (root / "file").write_text("contents")

    monkeypatch.setitem(images.BUILDERS, "small", build)
    assert not images.is_built("small")
    assert images.tarball("small") == images.tarball("small") == cache / f"small-{images.EDITION}.tar"
    assert images.is_built("small") and len(built) == 1
    assert tars(cache) == [f"small-{images.EDITION}.tar"]


def test_failed_build_leaves_nothing(cache, monkeypatch):
    def build(root):
        (root / "half").write_text("contents")
        raise OSError("no network")

    monkeypatch.setitem(images.BUILDERS, "small", build)
    with pytest.raises(OSError, match="no network"):
        images.tarball("small")
    assert tars(cache) == [] and not images.is_built("small")


def test_next_build_removes_the_rest_of_a_killed_one(cache, monkeypatch):
    (cache / "unfinished-abc" / "root").mkdir(parents=True)
    monkeypatch.setitem(images.BUILDERS, "small", lambda root: None)
    images.tarball("small")
    assert tars(cache) == [f"small-{images.EDITION}.tar"]
