-- One row per ALTER DEFAULT PRIVILEGES: of a role, in a schema or everywhere, for a kind of object.
SELECT coalesce(n.nspname, '*') AS schema,
       pg_get_userbyid(a.defaclrole) AS object,
       CASE a.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
            WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE a.defaclobjtype::text END AS part,
       array_to_string(a.defaclacl, E'\n') AS grants
  FROM pg_catalog.pg_default_acl AS a
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = a.defaclnamespace;
