-- One row per extended statistics object. Its target came with PostgreSQL 13.
SELECT n.nspname AS schema,
       s.stxname AS object,
       pg_get_statisticsobjdef(s.oid) AS definition,
       nullif(to_jsonb(s) ->> 'stxstattarget', '-1') AS statistics_target,
       pg_get_userbyid(s.stxowner) AS owner,
       d.description AS comment
  FROM pg_catalog.pg_statistic_ext AS s
  JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_statistic_ext'::regclass AND d.objoid = s.oid
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_statistic_ext'::regclass
                      AND e.objid = s.oid AND e.deptype = 'e');
