"""The cloud resources of the certificate cutover, as one Pulumi program for AWS and for the rehearsal."""
