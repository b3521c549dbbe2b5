"""CloudWatch alarms, filters and queries, evaluated by the rules that AWS publishes."""
