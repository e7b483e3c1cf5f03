-- What exists and is not compared, by kind, with counts.
SELECT k.what, count(*) AS count, k.why
  FROM (SELECT 'operator classes' AS what, 'their definition is not read' AS why,
               'pg_catalog.pg_opclass'::regclass AS class, oid FROM pg_catalog.pg_opclass
        UNION ALL SELECT 'operator families', 'their definition is not read',
               'pg_catalog.pg_opfamily'::regclass, oid FROM pg_catalog.pg_opfamily
        UNION ALL SELECT 'text search configurations', 'their definition is not read',
               'pg_catalog.pg_ts_config'::regclass, oid FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 'text search dictionaries', 'their definition is not read',
               'pg_catalog.pg_ts_dict'::regclass, oid FROM pg_catalog.pg_ts_dict
        UNION ALL SELECT 'text search parsers', 'their definition is not read',
               'pg_catalog.pg_ts_parser'::regclass, oid FROM pg_catalog.pg_ts_parser
        UNION ALL SELECT 'text search templates', 'their definition is not read',
               'pg_catalog.pg_ts_template'::regclass, oid FROM pg_catalog.pg_ts_template
        UNION ALL SELECT 'conversions', 'their definition is not read',
               'pg_catalog.pg_conversion'::regclass, oid FROM pg_catalog.pg_conversion
        UNION ALL SELECT 'transforms', 'their definition is not read',
               'pg_catalog.pg_transform'::regclass, oid FROM pg_catalog.pg_transform
        UNION ALL SELECT 'access methods', 'their definition is not read',
               'pg_catalog.pg_am'::regclass, oid FROM pg_catalog.pg_am
        UNION ALL SELECT 'procedural languages', 'their definition is not read',
               'pg_catalog.pg_language'::regclass, oid FROM pg_catalog.pg_language
        UNION ALL SELECT 'large objects', 'their content is not compared',
               'pg_catalog.pg_largeobject_metadata'::regclass, oid
          FROM pg_catalog.pg_largeobject_metadata
        UNION ALL SELECT 'security labels', 'they are not compared', classoid, objoid
          FROM pg_catalog.pg_seclabel) AS k
 WHERE (k.oid >= 16384 OR k.what IN ('large objects', 'security labels'))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = k.class AND e.objid = k.oid AND e.deptype = 'e')
 GROUP BY k.what, k.why
 ORDER BY k.what;
