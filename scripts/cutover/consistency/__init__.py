"""The certificate table against the bucket, key by key, and a sample of the files by their SHA-256.

What the check judges, for the gates that read it:

- A key agrees when a row marked as migrated owns it and the bucket has it. `db_count` counts the files of marked rows,
  `s3_count` the objects that must belong to one: orphans and objects of old unmarked rows are in it, those of rows
  younger than the sweep's grace and of accepted rows are not. So traffic alone does not tell the two apart, and every
  missing or surplus object does. One missing and one orphan give equal counts, and still FAIL: the keys decide.
- A row that is not marked and has no object is not migrated yet. That is no mismatch, at whatever age: before the
  backfill (steps 1 to 7) it is the rule. That all rows are marked is step 7's own criterion (`migrated`: a dry run of
  the backfill finds none), which steps 8 to 10 build upon; the report gives the number here, too.
- Nothing marked and nothing wrong is INCONCLUSIVE: 0 = 0 proves nothing.
- What disagrees is looked up in the table again before it counts: certificates are issued, marked and deleted while
  the bucket is listed.
"""
