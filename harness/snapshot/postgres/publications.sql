-- One row per publication with its tables. Row filters and column lists came with PostgreSQL 15:
-- `absent` stands in for them (see columns.sql).
SELECT p.pubname AS object,
       p.puballtables AS all_tables,
       concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                 CASE WHEN p.pubdelete THEN 'delete' END,
                 CASE WHEN p.pubtruncate THEN 'truncate' END) AS operations,
       to_jsonb(p) ->> 'pubviaroot' AS via_root,
       (SELECT string_agg(format('%I.%I', n.nspname, c.relname)
                          || coalesce((SELECT ' ('
                                              || (SELECT string_agg(quote_ident(a.attname), ', '
                                                                    ORDER BY a.attnum)
                                                    FROM pg_catalog.pg_attribute AS a
                                                   WHERE a.attrelid = m.prrelid
                                                     AND a.attnum = ANY (prattrs::int2[]))
                                              || ')'
                                         FROM pg_catalog.pg_publication_rel AS i
                                        WHERE i.oid = m.oid AND prattrs IS NOT NULL), '')
                          || coalesce((SELECT ' WHERE ' || pg_get_expr(prqual, m.prrelid)
                                         FROM pg_catalog.pg_publication_rel AS i
                                        WHERE i.oid = m.oid), ''),
                          '; ' ORDER BY n.nspname, c.relname)
          FROM pg_catalog.pg_publication_rel AS m
          JOIN pg_catalog.pg_class AS c ON c.oid = m.prrelid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         CROSS JOIN (SELECT NULL::int2vector AS prattrs, NULL::pg_node_tree AS prqual) AS absent
         WHERE m.prpubid = p.oid) AS tables,
       pg_get_userbyid(p.pubowner) AS owner,
       d.description AS comment
  FROM pg_catalog.pg_publication AS p
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_publication'::regclass AND d.objoid = p.oid;
