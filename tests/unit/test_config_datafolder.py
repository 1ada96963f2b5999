"""The data folder: private, versioned, and never touched by a gateway that is too old for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaperon.config import DATA_VERSION, open_data_folder
from chaperon.wire.errors import ConfigError


def test_a_new_folder_is_private_and_has_a_version(tmp_path: Path) -> None:
    path = open_data_folder(tmp_path / "a" / "data")
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "VERSION").read_text() == f"{DATA_VERSION}\n"
    assert os.listdir(path) == ["VERSION"]
    assert open_data_folder(path) == path


def test_a_newer_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = open_data_folder(tmp_path / "data")
    (path / "VERSION").write_text(f"{DATA_VERSION + 1}\n")
    with pytest.raises(ConfigError, match=rf"version {DATA_VERSION + 1}.*newer.*Install"):
        open_data_folder(path)
    assert (path / "VERSION").read_text() == f"{DATA_VERSION + 1}\n"
    assert os.listdir(path) == ["VERSION"]


@pytest.mark.parametrize("text", ["", "one", "-1", "1.5", "1" * 5000, "²"])
def test_a_version_that_is_none(tmp_path: Path, text: str) -> None:
    path = open_data_folder(tmp_path / "data")
    (path / "VERSION").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="VERSION"):
        open_data_folder(path)


def test_recordings_without_a_version_are_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "data"
    (path / "spool").mkdir(parents=True, mode=0o700)
    path.chmod(0o700)
    with pytest.raises(ConfigError, match="no VERSION file"):
        open_data_folder(path)


def test_what_is_no_usable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="not a folder"):
        open_data_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_data_folder(tmp_path / "file" / "data")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_data_folder(Path("/proc/chaperon"))


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = open_data_folder(tmp_path / "data")
    path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod go-w"):
        open_data_folder(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder(tmp_path: Path) -> None:
    path = open_data_folder(tmp_path / "data")
    path.chmod(0o000)
    try:
        with pytest.raises(ConfigError, match="cannot be read and written"):
            open_data_folder(path)
    finally:
        path.chmod(0o700)
