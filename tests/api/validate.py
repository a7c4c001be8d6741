#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Validates one answer of the control API against data/openapi.yaml.

usage: validate.py OPENAPI METHOD PATH STATUS [CONTENT-TYPE] < body

PATH is what was asked, with its query. Exit status: 0 valid, 1 not (says why), 2 wrong usage,
77 when PyYAML or jsonschema is missing.

Stricter than the document where it serves us and not clients: a member that the document does not
name is an error here, while clients ignore it.
"""

import copy
import json
import re
import sys

try:
    import jsonschema
    import yaml
except ImportError as error:
    print(f"validate.py: {error}: install python3-yaml and python3-jsonschema", file=sys.stderr)
    sys.exit(77)

PROBLEM = "application/problem+json"
STREAM = "application/x-ndjson"
SAMPLE = re.compile(r'^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.eE+-]+$')


class Invalid(Exception):
    pass


def close_objects(node):
    """No object may have members that its schema does not name."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for child in node.values():
            close_objects(child)
    elif isinstance(node, list):
        for child in node:
            close_objects(child)


class Api:
    def __init__(self, document):
        self.document = document
        # copied, since YAML's anchors share their nodes
        self.components = json.loads(json.dumps(copy.deepcopy(document["components"])))
        close_objects(self.components)

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(yaml.safe_load(file))

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def find(self, path):
        """The path's entry: (template, item), or (None, None)."""
        asked = path.split("?")[0].split("/")
        for template, item in self.document["paths"].items():
            parts = template.split("/")
            if len(parts) == len(asked) and all(
                part == value or (part == "{id}" and value)
                for part, value in zip(parts, asked)
            ):
                return template, item
        return None, None

    def response(self, method, path, status):
        """The documented answer: (name, response)."""
        template, item = self.find(path)
        operation = item and item.get("get" if method == "HEAD" else method.lower())
        if not operation:
            if status not in (404, 405):
                raise Invalid(f"{method} {path} is not in the document")
            expected = 405 if item else 404
            if status != expected:
                raise Invalid(f"{method} {path}: status {status}, expected {expected}")
            return None, self.components["responses"]["Problem"]
        responses = operation["responses"]
        key = str(status) if str(status) in responses else "default"
        if key == "default" and status < 400:
            raise Invalid(f"{method} {template}: status {status} is not in the document")
        return f"{method} {template} {key}", self.resolve(responses[key])

    def check_json(self, text, schema):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise Invalid(f"not JSON: {error}: {text!r}") from error
        # one document, so that references inside it resolve in every version of jsonschema
        whole = dict(schema, components=self.components)
        errors = list(jsonschema.Draft202012Validator(whole).iter_errors(value))
        if errors:
            where = "/".join(str(step) for step in errors[0].absolute_path)
            raise Invalid(f"at '{where}': {errors[0].message}")
        return value

    def check(self, method, path, status, body, content_type=None):
        """Raises Invalid. Returns the name of the documented answer, None for 404 and 405."""
        name, response = self.response(method, path, status)
        contents = response["content"]
        if content_type is None:
            content_type = guess_type(contents, path)
        media = content_type.split(";")[0].strip()
        if media not in contents:
            raise Invalid(f"Content-Type '{content_type}' is not in the document")
        if method == "HEAD":
            if body:
                raise Invalid("a HEAD was answered with a body")
            return name
        schema = contents[media]["schema"]
        if media == "text/plain":
            check_metrics(body)
        elif media == STREAM:
            for line in body.splitlines():
                self.check_json(line, schema)
        else:
            value = self.check_json(body, schema)
            if media == PROBLEM and value["status"] != status:
                raise Invalid(f"the problem says status {value['status']}, HTTP {status}")
        return name


def guess_type(contents, path):
    if STREAM in contents and re.search(r"[?&]watch=(1|true)", path):
        return STREAM
    return next(media for media in contents if media != STREAM)


def check_metrics(text):
    if not text.endswith("\n"):
        raise Invalid("the text does not end in a newline")
    for line in text.splitlines():
        if not line.startswith(("# HELP ", "# TYPE ")) and not SAMPLE.match(line):
            raise Invalid(f"not a sample: {line!r}")


def main(arguments):
    if len(arguments) not in (4, 5) or not arguments[3].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    openapi, method, path, status = arguments[:4]
    try:
        Api.load(openapi).check(method, path, int(status), sys.stdin.read(), *arguments[4:])
    except Invalid as error:
        print(f"{method} {path} {status}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
