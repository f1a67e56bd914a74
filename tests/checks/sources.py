"""Reading the tree: which files there are, and what their lines say."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["shared", "config", "db", "milter"]  # each may include those before it, and itself


def c_files(root):
    return [path for folder in FOLDERS for path in sorted((root / folder).glob("*.[ch]"))]


def project_files(root):
    """What belongs to the project: git's list, or every file where there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                                cwd=root, capture_output=True, text=True, check=True)
        paths = [root / name for name in listed.stdout.splitlines()]
    except (FileNotFoundError, subprocess.CalledProcessError):
        paths = [path for path in root.rglob("*")
                 if not {"build", ".git"} & set(path.relative_to(root).parts)]
    return sorted(path for path in paths if path.is_file())


def lines(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def matches(pattern, path):
    """(line number, match) for each line of the file the pattern is found in."""
    found = ((number, re.search(pattern, line)) for number, line in enumerate(lines(path), 1))
    return [(number, match) for number, match in found if match]


def where(root, path, number):
    return f"{path.relative_to(root)}:{number}"


def plant(root, name, text):
    """A file of a broken tree, for the tests of the checks."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
