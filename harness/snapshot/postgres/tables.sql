-- One row per table: plain, partitioned, partition, foreign.
SELECT CASE c.relkind WHEN 'f' THEN 'foreign-table' ELSE 'table' END AS kind,
       n.nspname AS schema,
       c.relname AS object,
       c.relpersistence AS persistence,
       pg_get_userbyid(c.relowner) AS owner,
       array_to_string(c.reloptions, E'\n') AS options,
       array_to_string(toast.reloptions, E'\n') AS toast_options,
       CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       CASE WHEN c.relispartition THEN parents.names END AS partition_of,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS partition_bound,
       CASE WHEN NOT c.relispartition THEN parents.names END AS inherits,
       am.amname AS access_method,
       CASE c.relkind WHEN 'f' THEN NULL ELSE coalesce(ts.spcname, 'default') END AS tablespace,
       c.relreplident AS replica_identity,
       (SELECT ic.relname
          FROM pg_catalog.pg_index AS i
          JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisreplident AND c.relreplident = 'i'
       ) AS replica_identity_index,
       c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS row_security_forced,
       CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS of_type,
       srv.srvname AS server,
       array_to_string(ft.ftoptions, E'\n') AS foreign_options,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS column_order,
       array_to_string(coalesce(c.relacl, acldefault('r', c.relowner)), E'\n') AS grants,
       d.description AS comment
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class AS toast ON toast.oid = c.reltoastrelid
  LEFT JOIN pg_catalog.pg_am AS am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_tablespace AS ts ON ts.oid = c.reltablespace
  LEFT JOIN pg_catalog.pg_foreign_table AS ft ON ft.ftrelid = c.oid
  LEFT JOIN pg_catalog.pg_foreign_server AS srv ON srv.oid = ft.ftserver
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
  LEFT JOIN LATERAL (
       SELECT string_agg(format('%I.%I', pn.nspname, p.relname), ', ' ORDER BY i.inhseqno) AS names
         FROM pg_catalog.pg_inherits AS i
         JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
         JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
        WHERE i.inhrelid = c.oid) AS parents ON true
 WHERE c.relkind IN ('r', 'p', 'f')
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
