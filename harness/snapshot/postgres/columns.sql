-- One row per column of a table. `absent` stands in for a column that an older server's catalog
-- does not have: inside the subquery the catalog's own column comes first, where there is one.
SELECT n.nspname AS schema,
       c.relname AS object,
       a.attname AS part,
       format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END AS nullability,
       CASE a.attgenerated WHEN '' THEN pg_get_expr(ad.adbin, ad.adrelid) END AS default,
       nullif(a.attidentity, '') AS identity,
       CASE a.attgenerated WHEN '' THEN NULL ELSE pg_get_expr(ad.adbin, ad.adrelid) END AS generated,
       CASE WHEN a.attcollation <> t.typcollation
            THEN format('%I.%I', cn.nspname, co.collname) END AS collation,
       a.attstorage AS storage,
       (SELECT nullif(attcompression, '')
          FROM pg_catalog.pg_attribute AS i
         WHERE i.attrelid = a.attrelid AND i.attnum = a.attnum) AS compression,
       nullif(coalesce(a.attstattarget, -1), -1) AS statistics_target,
       array_to_string(a.attoptions, E'\n') AS options,
       array_to_string(a.attfdwoptions, E'\n') AS foreign_options,
       array_to_string(a.attacl, E'\n') AS grants,
       d.description AS comment
  FROM (SELECT NULL::"char" AS attcompression) AS absent
 CROSS JOIN pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef AS ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_collation AS co ON co.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = co.collnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = a.attnum
 WHERE c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
