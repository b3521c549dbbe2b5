"""DeltaCrown's move of its certificate files to S3: the plan, the flags, the data tools and their gates."""
