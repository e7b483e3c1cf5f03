-- One row per sequence. last_value and is_called are no catalog columns: they are read from the
-- sequences themselves afterwards, where `readable`.
SELECT n.nspname AS schema,
       c.relname AS object,
       format_type(s.seqtypid, NULL) AS type,
       s.seqstart AS start,
       s.seqincrement AS increment,
       s.seqmin AS min,
       s.seqmax AS max,
       s.seqcache AS cache,
       s.seqcycle AS cycle,
       c.relpersistence AS persistence,
       (SELECT format('%I.%I.%I', tn.nspname, t.relname, a.attname)
          FROM pg_catalog.pg_depend AS o
          JOIN pg_catalog.pg_class AS t ON t.oid = o.refobjid
          JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = o.refobjsubid
         WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid AND o.objsubid = 0
           AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.refobjsubid > 0
           AND o.deptype IN ('a', 'i')) AS owned_by,
       pg_get_userbyid(c.relowner) AS owner,
       array_to_string(coalesce(c.relacl, acldefault('s', c.relowner)), E'\n') AS grants,
       d.description AS comment,
       has_sequence_privilege(c.oid, 'SELECT') AS readable
  FROM pg_catalog.pg_sequence AS s
  JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
