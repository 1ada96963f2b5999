"""The data folder: made with mode 0700, its layout versioned, never opened by an older gateway."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from chaperon.wire.errors import ConfigError

DATA_VERSION = 1


def open_data_folder(path: Path) -> Path:
    """Make the folder usable, or say why it is not; returns its absolute path.

    A new folder gets mode 0700 and a `VERSION` file. Raises ConfigError where the folder cannot be
    made, read or written, where it holds other things, or where a newer gateway wrote it. Nothing
    in an existing folder is changed.
    """
    path = Path(os.path.abspath(path))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{path}: is not a folder. Set `data:` to a folder.") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: the data folder cannot be made: {error.strerror}. "
            f"Make it by hand, owned by the user that runs the gateway, with mode 0700."
        ) from None
    _refuse_unusable(path)
    version = _version(path)
    if version is None:
        _write_version(path)
    elif version > DATA_VERSION:
        raise ConfigError(
            f"{path / 'VERSION'}: the data folder has version {version}, written by a newer "
            f"Chaperon; this one reads up to {DATA_VERSION}. Install the newer one again, or set "
            f"`data:` to another folder. Nothing was changed."
        )
    return path


def _refuse_unusable(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o022:
        raise ConfigError(
            f"{path}: others may write into the data folder (mode {mode:04o}), so a recording "
            f"could be replaced. Run: chmod go-w {path}"
        )
    try:
        os.listdir(path)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigError(
            f"{path}: the data folder cannot be read and written: {error.strerror}. Make room, "
            f"and give it to the user that runs the gateway with mode 0700."
        ) from None


def _version(path: Path) -> int | None:
    """The layout's version, None for a folder that was never used."""
    file = path / "VERSION"
    try:
        text = file.read_text("ascii").strip()
    except FileNotFoundError:
        found = sorted(os.listdir(path))
        if found and any((path / name).exists() for name in ("spool", "recordings")):
            raise ConfigError(
                f"{path}: holds recordings but no VERSION file. Restore the file (it holds a "
                f"number, {DATA_VERSION} for this release), or set `data:` to another folder."
            ) from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}. Restore it from a backup.") from None
    if not text.isdigit() or not 0 < len(text) < 10:
        raise ConfigError(
            f"{file}: must hold the layout's version, a number; this release writes "
            f"{DATA_VERSION}. Restore it from a backup."
        )
    return int(text)


def _write_version(path: Path) -> None:
    """Whole or not at all, also across a power cut."""
    handle, name = tempfile.mkstemp(dir=path, prefix=".VERSION-")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(f"{DATA_VERSION}\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path / "VERSION")
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"{path / 'VERSION'}: cannot be written: {error.strerror}. Make room in the folder."
        ) from None
