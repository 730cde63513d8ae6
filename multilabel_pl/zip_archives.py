"""Zip archives that others may have made."""

import zipfile
from pathlib import Path


def holds_more_than_its_file(archive: zipfile.ZipFile) -> bool:
    """Whether parts are compressed, or claim to be larger than the file; if not, reading them takes bounded memory."""
    parts = archive.infolist()
    compressed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    return compressed or sum(part.file_size for part in parts) > Path(str(archive.filename)).stat().st_size
