"""Logs Insights queries, run over exported log events.

The part of the language that the saved queries use, by AWS's description of it: "CloudWatch Logs Insights language
query syntax", docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html. Everything else is an error that
names it: a query that is only half run would prove nothing.
"""

from cutover.alarms.insights.command import run_query
from cutover.alarms.insights.query import Query, compile_query

__all__ = ["Query", "compile_query", "run_query"]
