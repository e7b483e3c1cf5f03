-- One row per row security policy.
SELECT n.nspname AS schema,
       c.relname AS object,
       p.polname AS part,
       CASE p.polpermissive WHEN true THEN 'permissive' ELSE 'restrictive' END AS variety,
       p.polcmd AS command,
       (SELECT string_agg(CASE r.role WHEN 0 THEN 'public' ELSE pg_get_userbyid(r.role) END, ', '
                          ORDER BY pg_get_userbyid(r.role))
          FROM unnest(p.polroles) AS r(role)) AS roles,
       pg_get_expr(p.polqual, p.polrelid) AS using,
       pg_get_expr(p.polwithcheck, p.polrelid) AS check,
       d.description AS comment
  FROM pg_catalog.pg_policy AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_policy'::regclass AND d.objoid = p.oid
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
