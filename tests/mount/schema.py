"""Holds JSON documents against a schema in which no object has members that it doesn't describe.

schema.py SCHEMA DOCUMENT...
    prints what is wrong, a line each, and exits with 1 if anything is
"""

import json
import sys

from jsonschema import Draft202012Validator


def close(schema):
    """Has each object refuse what isn't described."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)


with open(sys.argv[1]) as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
close(schema)
validator = Draft202012Validator(schema)
wrong = False
for path in sys.argv[2:]:
    with open(path) as file:
        for error in validator.iter_errors(json.load(file)):
            wrong = True
            print(f"{path}: {error.json_path}: {error.message}")
sys.exit(wrong)
