"""Log lines: one phrase, and the facts as fields."""

import json
import logging

from cilia.runtime.logs import JsonFormatter, TextFormatter


def record() -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "cilia.endpoint", "levelname": "INFO", "msg": "ready"})
    made.endpoint, made.why = 42, "all is well"
    return made


def test_text_has_the_fields_behind_the_phrase() -> None:
    assert (
        TextFormatter()
        .format(record())
        .endswith('Z info endpoint: ready endpoint=42 why="all is well"')
    )


def test_json_has_the_fields_as_members() -> None:
    line = json.loads(JsonFormatter().format(record()))
    assert (line["message"], line["endpoint"], line["level"]) == ("ready", 42, "info")
