"""The parts of the data tools' tests, for runs that take minutes."""

from tests.data_tools.conftest import account, aws, cluster, database, site

__all__ = ["account", "aws", "cluster", "database", "site"]
