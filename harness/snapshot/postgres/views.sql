-- One row per view and materialised view. Their columns are properties, not objects: they come and
-- go with the definition.
SELECT CASE c.relkind WHEN 'm' THEN 'materialized-view' ELSE 'view' END AS kind,
       n.nspname AS schema,
       c.relname AS object,
       pg_get_viewdef(c.oid) AS definition,
       cols.columns,
       cols.defaults AS column_defaults,
       cols.comments AS column_comments,
       cols.grants AS column_grants,
       CASE c.relkind WHEN 'm' THEN c.relispopulated END AS populated,
       am.amname AS access_method,
       CASE c.relkind WHEN 'm' THEN coalesce(ts.spcname, 'default') END AS tablespace,
       array_to_string(c.reloptions, E'\n') AS options,
       pg_get_userbyid(c.relowner) AS owner,
       array_to_string(coalesce(c.relacl, acldefault('r', c.relowner)), E'\n') AS grants,
       d.description AS comment
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am AS am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_tablespace AS ts ON ts.oid = c.reltablespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
  LEFT JOIN LATERAL (
       SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod),
                         ', ' ORDER BY a.attnum) AS columns,
              string_agg(quote_ident(a.attname) || ': ' || pg_get_expr(ad.adbin, ad.adrelid),
                         ', ' ORDER BY a.attnum) AS defaults,
              string_agg(quote_ident(a.attname) || ': ' || cd.description,
                         ', ' ORDER BY a.attnum) AS comments,
              string_agg(quote_ident(a.attname) || ': ' || array_to_string(a.attacl, ', '),
                         '; ' ORDER BY a.attnum) AS grants
         FROM pg_catalog.pg_attribute AS a
         LEFT JOIN pg_catalog.pg_attrdef AS ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
         LEFT JOIN pg_catalog.pg_description AS cd
           ON cd.classoid = 'pg_catalog.pg_class'::regclass AND cd.objoid = c.oid
              AND cd.objsubid = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS cols ON true
 WHERE c.relkind IN ('v', 'm')
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
