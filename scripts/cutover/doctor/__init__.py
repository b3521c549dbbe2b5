"""`cutover doctor`: the runbook's troubleshooting made executable, one module a subject."""
