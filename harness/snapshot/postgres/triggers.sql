-- One row per trigger of a user's. The copies that a partition has of its parent's triggers are
-- called internal before PostgreSQL 15; they are told apart by the trigger they depend on.
SELECT n.nspname AS schema,
       c.relname AS object,
       g.tgname AS part,
       pg_get_triggerdef(g.oid) AS definition,
       g.tgenabled AS enabled,
       d.description AS comment
  FROM pg_catalog.pg_trigger AS g
  JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_trigger'::regclass AND d.objoid = g.oid
 WHERE (NOT g.tgisinternal
        OR EXISTS (SELECT FROM pg_catalog.pg_depend AS p
                    WHERE p.classid = 'pg_catalog.pg_trigger'::regclass AND p.objid = g.oid
                      AND p.refclassid = 'pg_catalog.pg_trigger'::regclass)
           AND g.tgconstraint = 0)
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.deptype = 'e'
                      AND ((e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid)
                        OR (e.classid = 'pg_catalog.pg_trigger'::regclass AND e.objid = g.oid)));
