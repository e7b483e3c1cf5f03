-- One row per schema of the database's own.
SELECT n.nspname AS object,
       pg_get_userbyid(n.nspowner) AS owner,
       array_to_string(coalesce(n.nspacl, acldefault('n', n.nspowner)), E'\n') AS grants,
       d.description AS comment
  FROM pg_catalog.pg_namespace AS n
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_namespace'::regclass AND d.objoid = n.oid AND d.objsubid = 0
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_namespace'::regclass
                      AND e.objid = n.oid AND e.deptype = 'e');
