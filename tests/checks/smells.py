#!/usr/bin/python3
"""Prints the functions and files that have grown long. A smell, not a law."""

from sources import ROOT, c_files, lines, where

FUNCTION_LINES, FILE_LINES = 40, 400


def long_functions(root, limit=FUNCTION_LINES):
    """Our layout opens and closes a function's body with a brace at the start of a line."""
    found = []
    for path in c_files(root):
        opened = 0
        for number, line in enumerate(lines(path), 1):
            if line == "{":
                opened = number
            elif line == "}" and opened:
                if number - opened - 1 > limit:
                    found.append(f"{where(root, path, opened)}: a function of "
                                 f"{number - opened - 1} lines")
                opened = 0
    return found


def long_files(root, limit=FILE_LINES):
    return [f"{path.relative_to(root)}: {len(lines(path))} lines"
            for path in c_files(root) if len(lines(path)) > limit]


if __name__ == "__main__":
    for smell in long_files(ROOT) + long_functions(ROOT):
        print("smell:", smell)
