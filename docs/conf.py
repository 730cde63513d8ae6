"""Settings of Sphinx, which builds the manual: `make docs`."""

import sys
from pathlib import Path

from multilabel_pl import __version__

sys.path.append(str(Path(__file__).parent / "_extensions"))

project = "multilabel_pl"
author = "the authors of multilabel_pl"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_help"]
exclude_patterns = ["_build"]
default_role = "code"  # of single backticks in docstrings
smartquotes_action = "D"  # dashes; quotation marks stay as they are
nitpicky = True
nitpick_ignore_regex = [  # other projects' pages, which an offline build can't look up
    ("py:.*", r"(torch|lightning|pl|numpy|np|NDArray|PIL|Image|pathlib|collections|typing|abc|argparse|Figure)(\..*)?"),
    ("py:.*", r"(Tensor|nn\.Module|DataLoader|LightningModule|LightningDataModule|Path|Any|optional|array_like)"),
]

nb_execution_mode = "off"  # notebooks keep their outputs; a test runs them
myst_heading_anchors = 3  # as on GitHub, where the pages are read as well

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 80

pygments_dark_style = "monokai"
html_theme = "furo"
html_title = f"multilabel_pl {version}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
