-- One row per rewrite rule, without the ones that make a view a view.
SELECT n.nspname AS schema,
       c.relname AS object,
       r.rulename AS part,
       pg_get_ruledef(r.oid) AS definition,
       r.ev_enabled AS enabled,
       d.description AS comment
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_rewrite'::regclass AND d.objoid = r.oid
 WHERE r.rulename <> '_RETURN'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
