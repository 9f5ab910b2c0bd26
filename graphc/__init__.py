# In a checkout, passes/ and backends/ lie beside this package: look there too, so that it runs uninstalled.
from pathlib import Path as _Path

_root = _Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file() and (_root / "passes").is_dir():
    __path__.append(str(_root))
