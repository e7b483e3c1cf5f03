-- One row per constraint of a table or a domain. NOT NULL constraints with a name (PostgreSQL 18)
-- are the column's nullability; constraint triggers are triggers. A foreign key to a partitioned
-- table has a copy per partition on the same referencing table, named by the server: left out.
-- `triggers_off`: the internal triggers that should enforce it and do not (DISABLE TRIGGER ALL).
SELECT coalesce(n.nspname, tn.nspname) AS schema,
       coalesce(c.relname, t.typname) AS object,
       con.conname AS part,
       con.contype AS type,
       pg_get_constraintdef(con.oid) AS definition,
       con.convalidated AS validated,
       con.condeferrable AS deferrable,
       con.condeferred AS deferred,
       CASE WHEN con.coninhcount > 0 THEN true END AS inherited,
       (SELECT string_agg(format('%I.%I %s=%s', gn.nspname, gc.relname, p.proname, g.tgenabled),
                          ', ' ORDER BY gn.nspname, gc.relname, p.proname)
          FROM pg_catalog.pg_trigger AS g
          JOIN pg_catalog.pg_class AS gc ON gc.oid = g.tgrelid
          JOIN pg_catalog.pg_namespace AS gn ON gn.oid = gc.relnamespace
          JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
         WHERE g.tgconstraint = con.oid AND g.tgisinternal AND g.tgenabled <> 'O'
       ) AS triggers_off,
       d.description AS comment
  FROM pg_catalog.pg_constraint AS con
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = con.conrelid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_type AS t ON t.oid = con.contypid
  LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_constraint AS parent ON parent.oid = con.conparentid
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_constraint'::regclass AND d.objoid = con.oid
 WHERE con.contype NOT IN ('n', 't')
   AND (con.conrelid <> 0 OR con.contypid <> 0)
   AND (parent.oid IS NULL OR parent.conrelid <> con.conrelid)
   AND coalesce(n.nspname, tn.nspname) !~ '^pg_'
   AND coalesce(n.nspname, tn.nspname) <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.deptype = 'e'
                      AND ((e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = con.conrelid)
                        OR (e.classid = 'pg_catalog.pg_type'::regclass AND e.objid = con.contypid)));
