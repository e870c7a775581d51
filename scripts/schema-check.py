#!/usr/bin/env python3
"""Validates files against a JSON Schema, with the Python package `jsonschema`.

    schema-check.py SCHEMA.json FILE.json...

Exit code 1 and a line for each error otherwise.
"""

import json
import sys

from jsonschema import Draft202012Validator


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    schema_path, *paths = sys.argv[1:]
    schema = read(schema_path)
    Draft202012Validator.check_schema(schema)
    errors = [
        f"{path}: {'/'.join(map(str, error.absolute_path)) or 'the whole'}: {error.message[:200]}"
        for path in paths
        for error in Draft202012Validator(schema).iter_errors(read(path))
    ]
    for line in errors:
        print(line)
    print(f"{len(paths)} files, {len(errors)} errors against {schema['title']!r}")
    sys.exit(1 if errors or not paths else 0)


main()
