-- One row per type of a user's: composite, enum, domain, range, base. Row types of tables, array
-- and multirange types come with something else.
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'type' END AS kind,
       n.nspname AS schema,
       t.typname AS object,
       t.typtype AS variety,
       CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS type,
       CASE t.typtype WHEN 'd' THEN CASE WHEN t.typnotnull THEN 'not null' ELSE 'null' END
            END AS nullability,
       CASE t.typtype WHEN 'd' THEN t.typdefault END AS default,
       CASE WHEN t.typtype = 'd' AND t.typcollation <> base.typcollation
            THEN format('%I.%I', cn.nspname, co.collname) END AS collation,
       (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid) AS labels,
       (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                          || CASE WHEN a.attcollation <> at.typcollation
                                  THEN ' COLLATE ' || quote_ident(ac.collname) ELSE '' END,
                          ', ' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_type AS at ON at.oid = a.atttypid
          LEFT JOIN pg_catalog.pg_collation AS ac ON ac.oid = a.attcollation
         WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes,
       (SELECT format('subtype %s, operator class %s, canonical %s, difference %s',
                      format_type(r.rngsubtype, NULL), o.opcname, r.rngcanonical::regproc,
                      r.rngsubdiff::regproc)
          FROM pg_catalog.pg_range AS r
          JOIN pg_catalog.pg_opclass AS o ON o.oid = r.rngsubopc
         WHERE r.rngtypid = t.oid) AS range,
       CASE WHEN t.typtype = 'b' THEN format('input %s, output %s, length %s',
                                             t.typinput::regproc, t.typoutput::regproc, t.typlen)
            END AS base,
       pg_get_userbyid(t.typowner) AS owner,
       array_to_string(coalesce(t.typacl, acldefault('T', t.typowner)), E'\n') AS grants,
       d.description AS comment
  FROM pg_catalog.pg_type AS t
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type AS base ON base.oid = t.typbasetype
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
  LEFT JOIN pg_catalog.pg_collation AS co ON co.oid = t.typcollation
  LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = co.collnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_type'::regclass AND d.objoid = t.oid
 WHERE t.typtype IN ('c', 'e', 'd', 'r', 'b')
   AND (c.oid IS NULL OR c.relkind = 'c')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS el WHERE el.typarray = t.oid)
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_type'::regclass
                      AND e.objid = t.oid AND e.deptype = 'e');
