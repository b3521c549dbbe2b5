"""The JSON layout of log lines: one object a line."""

import json
import logging


class JsonFormatter(logging.Formatter):
    """Writes `levelname`, `asctime`, `name`, `message`, and what a METRIC line has beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record as one line of JSON; a traceback stands under `exc_info`."""
        line = {
            "levelname": record.levelname,
            "asctime": self.formatTime(record),
            "name": record.name,
            "message": record.getMessage(),
        }
        line |= {key: record.__dict__[key] for key in ("metric_name", "value", "tags") if key in record.__dict__}
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(line)
