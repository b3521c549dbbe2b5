"""Composes a deployment's resources, and exports what playbooks and people look for by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pulumi

from infra.access import CertificateAccess, CertificateAccessArgs
from infra.alarms import Alarms, AlarmsArgs
from infra.budget import StorageBudget, StorageBudgetArgs
from infra.certificate_store import CertificateStore, CertificateStoreArgs, InventoryDestination, InventorySource
from infra.dashboard import Dashboard, DashboardArgs
from infra.oncall import OnCall, OnCallArgs
from infra.operators import OperatorAccess, OperatorAccessArgs
from infra.telemetry import Telemetry, TelemetryArgs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict as RuleArguments

    from cutover.alarm_table import Severity
    from cutover.plan import Plan
    from infra.operators import Purpose
    from infra.settings import Endpoint, Settings


@dataclasses.dataclass(frozen=True)
class Stack:
    """A deployment's resources. `queries` is the folder of the saved log queries."""

    settings: Settings
    table: Plan
    lifecycle_rules: Sequence[RuleArguments]
    queries: Path

    def declare(self) -> None:
        """Declares everything, and exports it."""
        settings = self.settings
        telemetry = Telemetry(
            "telemetry",
            TelemetryArgs(self.table, settings.environment, self.queries, settings.tags, protect=settings.protect),
        )
        pulumi.export("logGroup", telemetry.log_group.name)
        access = self._access(telemetry)
        self._stores(access)
        self._operators(telemetry, access)
        self._monitoring()

    def _kept(self) -> pulumi.ResourceOptions:
        """For what customers depend on: `pulumi destroy` deletes all that is not protected before it refuses."""
        return pulumi.ResourceOptions(protect=self.settings.protect)

    def _access(self, telemetry: Telemetry) -> CertificateAccess:
        access = CertificateAccess(
            "certificate-access",
            CertificateAccessArgs(
                role_name=self.settings.role_name,
                bucket_name=self.settings.certificate_bucket,
                trusted_principals=self.settings.trusted_principals,
                log_group_arn=telemetry.log_group.arn,
                tags=self.settings.tags,
                kms_key_arn=self.settings.kms_key_arn,
            ),
            self._kept(),
        )
        pulumi.export("roleName", access.role.name)
        pulumi.export("roleArn", access.role.arn)
        pulumi.export("instanceProfile", access.instance_profile.name)
        return access

    def _stores(self, access: CertificateAccess) -> None:
        settings = self.settings
        certificates = CertificateStoreArgs(
            settings.certificate_bucket, settings.tags, self.lifecycle_rules, settings.kms_key_arn
        )
        if settings.backups_bucket is not None:
            backups = dataclasses.replace(certificates, bucket_name=settings.backups_bucket, keeps_evidence=True)
            if settings.inventory:
                source = InventorySource(settings.certificate_bucket, access.account_id)
                backups = dataclasses.replace(backups, inventory_from=source)
            store = CertificateStore("backups", backups, self._kept())
            if settings.inventory:
                destination = InventoryDestination(store.bucket.arn, access.account_id)
                certificates = dataclasses.replace(certificates, inventory_to=destination)
            pulumi.export("backupsBucket", store.bucket.bucket)
            pulumi.export("backupsBucketArn", store.bucket.arn)
        store = CertificateStore("certificates", certificates, self._kept())
        pulumi.export("certificateBucket", store.bucket.bucket)
        pulumi.export("certificateBucketArn", store.bucket.arn)

    def _operators(self, telemetry: Telemetry, access: CertificateAccess) -> None:
        settings = self.settings
        principals: dict[Purpose, Sequence[str]] = {
            "readonly": settings.operator_principals,
            "retirement": settings.retirement_principals,
            "evidence": settings.evidence_principals,
            "fence": settings.fence_principals,
        }
        if not any(principals.values()):  # a role that nobody is trusted with cannot exist
            return
        operators = OperatorAccess(
            "operator-access",
            OperatorAccessArgs(
                names=self.table.deployments[settings.environment],
                bucket_name=settings.certificate_bucket,
                backups_bucket=settings.backups_bucket,
                principals=principals,
                log_group_arn=telemetry.log_group.arn,
                workers_role_arn=access.role.arn,
                tags=settings.tags,
                kms_key_arn=settings.kms_key_arn,
            ),
        )
        if operators.readonly_role is not None:
            pulumi.export("readonlyRoleArn", operators.readonly_role.arn)
        if operators.retirement_role is not None:
            pulumi.export("retirementRoleArn", operators.retirement_role.arn)
        if operators.evidence_role is not None:
            pulumi.export("evidenceRoleArn", operators.evidence_role.arn)
        if operators.fence_role is not None:
            pulumi.export("fenceRoleArn", operators.fence_role.arn)

    def _monitoring(self) -> None:
        table, deployment, tags = self.table, self.settings.environment, self.settings.tags
        if self.settings.pager is None and deployment == "production":
            pulumi.log.warn(
                "Nobody's phone will ring: incidents of production go out by mail alone. "
                "Set PagerDuty's address with `pulumi config set --secret pagerEndpoint`, which asks for it."
            )
        endpoints: dict[Severity, Endpoint | None] = {"critical": self.settings.pager, "warning": self.settings.chat}
        topics = OnCall("on-call", OnCallArgs(deployment, table.contacts, endpoints, tags)).topic_arns
        alarms = Alarms("alarms", AlarmsArgs(table, deployment, topics, tags))
        dashboard = Dashboard(
            "dashboard", DashboardArgs(table, deployment, self.settings.certificate_bucket, alarms.all)
        )
        StorageBudget("budget", StorageBudgetArgs(table, deployment, topics["warning"], tags))
        pulumi.export("topicArns", topics)
        pulumi.export("alarmNames", [alarm.name for alarm in alarms.metric_alarms.values()])
        pulumi.export("incidentNames", [incident.alarm_name for incident in alarms.incidents.values()])
        pulumi.export("silenceAlarmName", alarms.silence.name)
        pulumi.export("dashboard", dashboard.dashboard.dashboard_name)
