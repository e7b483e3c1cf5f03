-- One row per index, also of materialised views.
SELECT n.nspname AS schema,
       c.relname AS object,
       format('%I.%I', n.nspname, tc.relname) AS table,
       pg_get_indexdef(c.oid) AS definition,
       i.indisunique AS unique,
       i.indisvalid AS valid,
       i.indisready AND i.indislive AS ready,
       i.indisclustered AS clustered,
       i.indisreplident AS replica_identity,
       con.conname AS constraint,
       (SELECT format('%I.%I', pn.nspname, p.relname)
          FROM pg_catalog.pg_inherits AS h
          JOIN pg_catalog.pg_class AS p ON p.oid = h.inhparent
          JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
         WHERE h.inhrelid = c.oid) AS attached_to,
       coalesce(ts.spcname, 'default') AS tablespace,
       (SELECT string_agg(a.attnum || ': ' || a.attstattarget, ', ' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND coalesce(a.attstattarget, -1) >= 0) AS statistics_target,
       d.description AS comment
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS tc ON tc.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint AS con
    ON con.conindid = c.oid AND con.contype IN ('p', 'u', 'x')
  LEFT JOIN pg_catalog.pg_tablespace AS ts ON ts.oid = c.reltablespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid IN (i.indrelid, i.indexrelid) AND e.deptype = 'e');
