-- One row per extension; its members are left out everywhere.
SELECT x.extname AS object,
       x.extversion AS version,
       n.nspname AS in_schema,
       pg_get_userbyid(x.extowner) AS owner
  FROM pg_catalog.pg_extension AS x
  JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace;
